"""`Dataset`: three Polars tables and the schema of their columns; valid by construction.

A `Dataset` guarantees: ids are not null, a user or item has at most one row in its table, labels are finite,
weights are finite and not negative, and every feature column has the dtype of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.core.reprs import Facts, html_of, text_of
from twotower.core.vocabulary import Vocabulary
from twotower.core.where import Found
from twotower.core.wording import count_of
from twotower.data.checks import check_interactions
from twotower.data.merged import arranged, refuse_long_form
from twotower.data.sides import side_of, with_duration
from twotower.errors import ConfigError, DataError, TrainPartError

Frame = Any
"""A Polars or pandas data frame."""
Side = Literal["user", "item"]
"""Whose ids are asked for."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Interactions, users and items with their schema. Build one with `Dataset.of`.

    Attributes:
        interactions: one row per event, with the role columns of the schema (others are kept).
        users: one row per user: the id and the feature columns. Without features: only the id column.
        items: the same for items, plus the display columns, those of ``schema.daily`` (see
            `twotower.data.daily`) and the duration, if it is in this table.
        schema: roles and kinds of the columns.
        notes: what was dropped or detected so far, in plain sentences.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    schema: Schema
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        interactions: Frame,
        users: Frame | None = None,
        items: Frame | None = None,
        *,
        schema: Schema | Mapping[str, Any],
        sources: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Check the tables against the schema and build a dataset.

        Args:
            interactions: Polars or pandas frame of events.
            users: frame with the user id and the columns of ``schema.users``; optional if there are no
                features, or if they are columns of the interactions.
            items: the same for items.
            schema: a `Schema`, or the values of one.
            sources: names of the tables for error messages (``{"users": "users.csv"}``).

        Raises:
            DataError: a column is missing, a value is of the wrong kind, an id is null or duplicate in its
                table, a label is not finite; the message names table, row, column and value.
        """
        check_process()
        schema = schema if isinstance(schema, Schema) else Schema.parse(schema)
        if schema.statistics_fault is not None:
            raise ConfigError(f"schema: {schema.statistics_fault}")
        names = {"interactions": "interactions", "users": "users", "items": "items", **(sources or {})}
        for table, wanted, source in (
            (users, schema.users, names["users"]),
            (items, [*schema.items, *schema.display], names["items"]),
        ):
            if table is not None and not isinstance(table, pl.LazyFrame) and hasattr(table, "columns"):
                refuse_long_form(table, wanted, source)
        schema, interactions, users, items = arranged(
            schema,
            to_polars(interactions),
            None if users is None else to_polars(users),
            None if items is None else to_polars(items),
            names,
        )
        found = Found()
        events = check_interactions(interactions, schema, names["interactions"], found)
        schema = schema.with_settings("context", found.settings)
        tables, notes = dict[str, pl.DataFrame](), found.notes
        features = with_duration(schema, events.columns, items, names)
        for role, given in (("user", users), ("item", items)):
            side = side_of(role, given, events, schema, features, names)
            events, tables[role], schema = side.events, side.table, side.schema
            notes += side.notes
        return cls(events, tables["user"], tables["item"], schema, tuple(notes))

    def __len__(self) -> int:
        return self.interactions.height

    def __repr__(self) -> str:
        return text_of(*self._described())

    def _repr_html_(self) -> str:
        return html_of(*self._described())

    def _described(self) -> tuple[str, Facts]:
        rows = self.interactions
        asked = [rows.get_column(column).n_unique() for column in (self.schema.user, self.schema.item)]
        title = f"{self._name}: {count_of(len(rows), 'interaction')}"
        title += f" of {count_of(asked[0], 'user')} with {count_of(asked[1], 'item')}"
        notes = count_of(len(self.notes), "note") + ", see .notes" if self.notes else None
        tables = f"{count_of(len(self.users), 'row')} of users, {count_of(len(self.items), 'row')} of items"
        return title, {"tables": tables, **self.schema.facts(), "notes": notes}

    @property
    def _name(self) -> str:
        return "Dataset"

    def role_columns(self) -> list[str]:
        """Return the columns of the interactions that have a role in the schema."""
        columns = self.schema.interaction_columns()
        duration = self.schema.duration
        if duration is not None and duration in self.columns and duration not in columns:
            columns.append(duration)
        return columns

    def times(self) -> NDArray[np.float64]:
        """Return the seconds of each interaction, NaN where there is no time; the schema must name them."""
        assert self.schema.timestamp is not None
        return self.interactions.get_column(self.schema.timestamp).cast(pl.Float64).to_numpy()

    def labels(self) -> NDArray[np.float64]:
        """Return the label of each interaction, float64 (n,); the schema must name them."""
        assert self.schema.label is not None
        values: NDArray[np.float64] = (
            self.interactions.get_column(self.schema.label).cast(pl.Float64).to_numpy()
        )
        return values

    def weights(self) -> NDArray[np.float64]:
        """Return the weight of each interaction, float64 (n,); the schema must name them."""
        assert self.schema.weight is not None
        weights = self.interactions.get_column(self.schema.weight)
        values: NDArray[np.float64] = weights.cast(pl.Float64).to_numpy()
        return values

    def rows(self, side: Side, ids: Vocabulary) -> NDArray[np.int64]:
        """Return the row of each interaction's user or item among some ids, int64 (n,); -1 for others."""
        return ids.rows(self.interactions.get_column(self._column(side)))

    @property
    def columns(self) -> list[str]:
        """The columns of the interactions."""
        return self.interactions.columns

    @property
    def labelled(self) -> bool:
        """Whether the interactions have labels."""
        return self.schema.label is not None and self.schema.label in self.columns

    # What follows is all that training and evaluation ask of interactions that may be on disk.

    def ids(self, side: Side) -> pl.Series:
        """Return the distinct users or items that have interactions, ascending."""
        return self.interactions.get_column(self._column(side)).unique().sort()

    def counts(self, side: Side) -> pl.DataFrame:
        """Return the users or items that have interactions, ``id``, and the number of these, ``count``."""
        return self.interactions.get_column(self._column(side)).alias("id").value_counts(name="count")

    def pairs_by_user(self, users: pl.Series) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
        """Yield distinct users, part by part in their order, with the columns ``user`` and ``item`` of their
        interactions at least."""
        yield users, self.interactions.select(user=self.schema.user, item=self.schema.item)

    def blocks(self) -> Iterator[Dataset]:
        """Yield all interactions as datasets in memory, the interactions of a user in one of them."""
        yield self

    def distinct_where(self, which: Callable[[Dataset], NDArray[np.bool_]]) -> Dataset:
        """Return the interactions that are chosen, of a user and an item only the first.

        Args:
            which: says for each of m interactions whether it is chosen, bool (m,).
        """
        rows = self.interactions.filter(pl.Series(which(self)))
        ids = [self.schema.user, self.schema.item]
        return self.with_interactions(rows.unique(ids, keep="first", maintain_order=True))

    def label_quantiles(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles of the labels, float64 (n_shares,), as ``np.quantile`` does."""
        found: NDArray[np.float64] = np.quantile(self.labels(), shares)
        return found

    def _column(self, side: Side) -> str:
        return self.schema.user if side == "user" else self.schema.item

    def with_interactions(self, interactions: pl.DataFrame, *notes: str) -> Dataset:
        """Return the dataset with other interactions (a selection of its rows)."""
        return Dataset(interactions, self.users, self.items, self.schema, self.notes + notes)

    def as_train(self) -> TrainPart:
        """Declare all interactions to be training data, so encoders may be fitted on them."""
        if not self.interactions.height:
            raise DataError(
                "a training set needs at least one interaction, got 0; check the settings of the split"
            )
        return TrainPart(self.interactions, self.users, self.items, self.schema, self.notes)

    def with_notes(self, *notes: str) -> Dataset:
        """Return the dataset with further notes."""
        return replace(self, notes=self.notes + notes)


@dataclass(frozen=True, eq=False, repr=False)
class TrainPart(Dataset):
    """A training set: the only `Dataset` that encoders and models may be fitted on. Made by a split, or by
    `Dataset.as_train`."""

    @property
    def _name(self) -> str:
        return "Training set"

    def joined(self, validation: Dataset) -> TrainPart:
        """Return the rows of both datasets, with the role columns; models are refitted on them.

        Ids take this dataset's type. If one file has integer labels and the other fractions, all become
        fractions; if one lacks the duration, it is missing in its rows.
        """
        ids = {name: self.interactions.schema[name] for name in (self.schema.user, self.schema.item)}
        parts = [
            part.interactions.select(part.role_columns()).cast(ids)  # type: ignore[arg-type]
            for part in (self, validation)
        ]
        return self.with_interactions(pl.concat(parts, how="diagonal_relaxed")).as_train()


def check_train(train: object, what: str) -> None:
    """Refuse whatever is not marked as a training set; ``what`` is to be fitted.

    Raises:
        TrainPartError: it is not a `TrainPart`.
    """
    if not isinstance(train, TrainPart):
        raise TrainPartError(
            f"{what} must be fitted on a training set (TrainPart), got {type(train).__name__}; use the first "
            "part that twotower.split returns, or Dataset.as_train() if all of it is for training"
        )


def to_polars(frame: Frame) -> pl.DataFrame:
    """Return a Polars frame; a pandas one is converted (its index is dropped)."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if type(frame).__module__.split(".")[0] == "pandas":
        return _from_pandas(frame)
    raise DataError(
        f"a table must be a Polars or pandas data frame, got {type(frame).__name__}; "
        "read files with twotower.read_table(path)"
    )


def _from_pandas(frame: Frame) -> pl.DataFrame:
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"column names must be unique, and the pandas frame has two columns '{twice}'; rename one"
        )
    columns = []
    for place, name in enumerate(names):
        try:
            columns.append(pl.from_pandas(frame.iloc[:, place]).alias(name))
        except (ValueError, TypeError) as error:  # pyarrow raises these for mixed Python objects
            reason = str(error).splitlines()[0]
            raise DataError(
                f"all values of a column must have one type: column '{name}' of the pandas frame has "
                f"several ({reason}); convert it with astype, or leave it out"
            ) from None
    return pl.DataFrame(columns)
