"""`Dataset`: three Polars tables and the schema of their columns; valid by construction.

A `Dataset` guarantees: ids are not null, a user or item has at most one row in its table, labels are finite,
weights are finite and not negative, and every feature column has the dtype of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import FeatureKind, kind_of
from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.core.id_text import canonical
from twotower.core.reprs import Facts, html_of, text_of
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.checks import check_interactions, check_table, common_id_type, require_columns
from twotower.data.daily import parse_daily
from twotower.data.merged import arranged, refuse_long_form
from twotower.errors import ConfigError, DataError, TrainPartError, nearest

Frame = Any
"""A Polars or pandas data frame."""


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
        features = _with_duration(schema, events, items, names)
        tables, notes = dict[str, pl.DataFrame](), found.notes
        for role, ids, id_type, kinds, display, given in (
            ("user", schema.user, schema.user_type, schema.users, (), users),
            ("item", schema.item, schema.item_type, features, schema.display, items),
        ):
            side, found = names[f"{role}s"], Found()
            daily = schema.daily if role == "item" else {}
            if given is None:
                if kinds or display or daily:
                    lacking = ", ".join([*kinds, *display, *daily])
                    raise DataError(
                        f"the schema names columns of {side} ({lacking}), but that table was not passed"
                    )
                tables[role] = events.select(pl.col(ids).unique().sort())
                continue
            table = check_table(given, ids, kinds, display, side, found, id_type)
            require_columns(given.columns, list(daily), side)
            table = table.with_columns(
                parse_daily(given.get_column(name), kind, Where(side, name), found).alias(name)
                for name, kind in daily.items()
            )
            notes += [*found.notes, *_text_in_one({names["interactions"]: events, side: table}, ids)]
            schema = schema.with_settings("users" if role == "user" else "items", found.settings)
            events, tables[role] = common_id_type(events, table, ids)
            known = events.get_column(ids)
            lost = known.filter(~known.is_in(tables[role].get_column(ids).implode()))
            if len(lost):
                notes.append(
                    f"{side} has no row for {count_of(lost.n_unique(), role)} "
                    f"({count_of(len(lost), 'interaction')}, {len(lost) / len(known):.1%}); these are kept, "
                    "with all features missing"
                )
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
        if duration is not None and duration in self.interactions.columns and duration not in columns:
            columns.append(duration)
        return columns

    def times(self) -> NDArray[np.float64]:
        """Return the seconds of each interaction, NaN where there is no time; the schema must name them."""
        assert self.schema.timestamp is not None
        return self.interactions.get_column(self.schema.timestamp).cast(pl.Float64).to_numpy()

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


def _with_duration(
    schema: Schema, events: pl.DataFrame, items: pl.DataFrame | None, names: Mapping[str, str]
) -> dict[str, FeatureKind]:
    """Return the item columns to check and keep: the features, and the duration if it is in this table."""
    features = {
        name: kind.filled(schema.interactions[name].given) if name in schema.interactions else kind
        for name, kind in schema.items.items()
    }
    if schema.duration is None:
        return features
    in_items = items is not None and schema.duration in items.columns
    if in_items:
        reading = schema.interactions.get(schema.duration)
        number = {"kind": "number", **(reading.given if reading else {})}
        features.setdefault(schema.duration, kind_of(number, "schema.duration"))
    elif schema.duration not in events.columns:
        present = [*events.columns, *(items.columns if items is not None else [])]
        raise DataError(
            "the duration must be a column of the interactions or the items: neither "
            f"{names['interactions']} nor {names['items']} has a column "
            f"'{schema.duration}'.{nearest(schema.duration, present)}"
        )
    return features


def _text_in_one(tables: Mapping[str, pl.DataFrame], column: str) -> list[str]:
    """Note that the ids of both tables become text because those of one are not all integers."""
    text = [name for name, table in tables.items() if table.schema[column] == pl.String]
    if len(text) != 1:
        return []
    ids = tables[text[0]].get_column(column)
    other = ids.filter(~canonical(ids))
    if not len(other):
        return []
    return [
        f"column '{column}' is read as text in every table: {text[0]} has ids such as {other[0]!r}, the "
        "other table only whole numbers"
    ]
