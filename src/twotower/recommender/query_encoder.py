"""`QueryEncoder`: the one way from queries to vectors, and from items that are asked about to theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Ids, as_series
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.core.vocabulary import Vocabulary, rows_of_ids
from twotower.core.warn import warn
from twotower.data.dataset import Dataset, Frame, to_polars
from twotower.errors import ConfigError, DataError
from twotower.recommender.fitted_towers import FittedTowers, Unknown
from twotower.recommender.histories import Histories, Rows
from twotower.recommender.queries import Features, Queries
from twotower.recommender.query_context import QueryContext
from twotower.recommender.row_queries import RowQueries
from twotower.towers import SideArrays

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

Items = Ids | Frame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Items that are asked about: ids of known ones, or features of new ones, in a table or in dicts."""
PLACE = "query"
"""The column that says which query or new item a row answers, counted from 0."""
_SOMEONE_NEW = " For someone new give tt.Query(history=[...]) or tt.Query(features={...})."


@dataclass(frozen=True, eq=False)
class EncodedItems:
    """Items as a search asks about them.

    Attributes:
        vectors: float32 (n, dim).
        rows: int64 (n,), the row of each in the model, -1 for a new one.
        names: columns (n,), the first ones of an answer: ids, or the place in what was asked.
    """

    vectors: F32
    rows: Rows
    names: tuple[pl.Series, ...]


@dataclass(frozen=True, eq=False)
class EncodedQueries:
    """Queries as a search asks about them.

    Attributes:
        encoder: what encoded them.
        queries: as they were asked.
        asked: the same as rows of the model.
        vectors: float32 (n, dim).
    """

    encoder: QueryEncoder
    queries: Queries
    asked: RowQueries
    vectors: F32

    @property
    def rows(self) -> Rows:
        """The row of each user in the model, int64 (n,); -1 for someone new."""
        return self.asked.rows

    @cached_property
    def seen(self) -> Lists:
        """The item rows of each, of the training set and of its history."""
        known, history = self.asked.known, self.asked.items
        if not known.any():
            return history
        trained = self.encoder.histories.interactions.items.of(self.rows[known])
        if known.all() and not len(history.values):
            return trained
        places = np.append(np.flatnonzero(known)[trained.owners()], history.owners())
        return Lists.from_arrays(places, np.append(trained.values, history.values), len(known))

    @cached_property
    def names(self) -> tuple[pl.Series, ...]:
        """Columns (n,), the first ones of an answer: the place of the query, the user's id, or both."""
        names = () if self.queries.users is None else (self.encoder.ids(self.queries.users, self.rows),)
        return (_places(len(self.queries)), *names) if self.queries.numbered else names


@dataclass(frozen=True, eq=False)
class QueryEncoder:
    """Encodes queries and items.

    Attributes:
        histories: the users and items known, and what their interactions say.
    """

    histories: Histories

    @property
    def towers(self) -> FittedTowers:
        """What encodes features."""
        return self.histories.towers

    def encode(self, queries: Queries) -> EncodedQueries:
        """Encode queries: known and new users, with features, a history or both, in their context.

        Raises:
            DataError: a user or an item is not known, or a feature or the context is not of its kind.
        """
        check_process()
        rows = self._rows(queries)
        described, unknown = [part for part in queries.features if part.table.width], Unknown()
        features = None
        if described:
            features = SideArrays.joined(
                [self.towers.arrays_of(part, "users", unknown) for part in described]
            )
            columns = [one.table.columns for one in described for _ in one.places]
            self.towers.warn_gaps("users", columns, unknown)
        places = np.concatenate([np.empty(0, np.int64), *(part.places for part in described)])
        context, unknown = QueryContext(self.towers), Unknown()
        around = context.arrays(queries.context, queries.at, len(queries), unknown)
        context.warn(queries.context, len(queries), unknown)
        users = self.towers.model.users
        if queries.at is not None and not (context.read or (users.reads_history and users.ordered)):
            warn(
                f"this model reads no times, as its towers are of kind {self.towers.model.config.kind!r}: "
                "the time at which a query is asked (at) has no effect"
            )
        asked = RowQueries(rows, *self._history(queries), queries.at, places, features, around)
        return EncodedQueries(self, queries, asked, self.histories.vectors(asked))

    def placed(
        self, which: str, ids: pl.Series, data: Dataset, context: pl.DataFrame | None = None
    ) -> tuple[Rows, F32]:
        """Return the row of each of n ids, and vectors: of all known rows, then of new users or items.

        New ones are encoded by their features in the tables of a data set; one that is in no table has all of
        them missing.

        Args:
            which: "users" or "items".
            ids: (n,).
            data: of the model's schema.
            context: with users, the columns of the context in which each asks, as a dataset has them; the ids
                are then distinct, and all are encoded, as none is known in it.
        """
        users, schema, catalogue = which == "users", data.schema, self.histories.catalogue
        known = catalogue.users if users else catalogue.items
        rows = known.rows(ids)
        unknown = rows < 0
        if users and context is not None and QueryContext(self.towers).read:
            places = np.flatnonzero(unknown)
            table = rows_of_ids(data.users, data.schema.user, ids.filter(pl.Series(unknown)))
            queries = Queries(
                len(ids),
                ids,
                features=(Features(places, table, checked=True),) if len(places) else (),
                context=(Features(np.arange(len(ids)), context, checked=True),),
            )
            return np.arange(len(ids)), self.encode(queries).vectors
        if not unknown.any():
            return rows, known.vectors
        lacking = ids.filter(pl.Series(unknown))
        new = Vocabulary.distinct(lacking)
        rows[unknown] = len(known) + new.rows(lacking)
        table, column = (data.users, schema.user) if users else (data.items, schema.item)
        part = Features(np.arange(len(new)), rows_of_ids(table, column, new.ids), checked=True)
        if users:
            vectors = self.encode(Queries(len(new), new.ids, features=(part,))).vectors
        else:
            vectors = self.towers.vectors(self.towers.arrays_of(part, which), which)
        return rows, np.concatenate([known.vectors, vectors])

    def with_items(self, vectors: F32, duration: F64, arrays: SideArrays | None = None) -> QueryEncoder:
        """Return an encoder of histories that have further items; see `Histories.with_items`."""
        return replace(self, histories=self.histories.with_items(vectors, duration, arrays))

    def items(self, asked: Any) -> EncodedItems:
        """Return the distinct items of ids, or new items of features: a table, a dict or a list of dicts.

        Raises:
            ConfigError: there is no item, or ids and features are mixed.
            DataError: an item is not known, or a feature is not of its kind.
        """
        check_process()
        if isinstance(asked, Iterator):
            asked = list(asked)
        if isinstance(asked, Mapping):
            asked = [asked]
        column, unknown = self.towers.encoder.schema.item, Unknown()
        if isinstance(asked, Sequence) and any(isinstance(one, Mapping) for one in asked):
            if not all(isinstance(one, Mapping) for one in asked):
                raise ConfigError(
                    "items are ids, or the features of new items as dicts; got both in one list, so ask twice"
                )
            vectors = self.towers.vectors(self.towers.arrays_of_dicts(asked, "items", unknown), "items")
            self.towers.warn_gaps("items", asked, unknown)
            ids = [one[column] for one in asked if column in one]
            names = as_series(ids, "items") if len(ids) == len(asked) else None
        elif type(asked).__name__ in ("DataFrame", "LazyFrame"):
            table = to_polars(asked)
            vectors = self.towers.encode(table, "items", unknown)
            self.towers.warn_gaps("items", [table.columns] * table.height, unknown)
            names = table.get_column(column) if column in table.columns else None
        else:
            known = self.histories.catalogue.items
            rows = known.distinct_rows(asked, "item")
            if not len(rows):
                raise ConfigError("there must be at least one item, got none")
            return EncodedItems(known.vectors[rows], rows, (known.ids.gather(rows).rename(column),))
        new = _places(len(vectors)) if names is None else names.rename(column)
        return EncodedItems(vectors, np.full(len(vectors), -1), (new,))

    def _history(self, queries: Queries) -> tuple[Lists, F64, F64 | None]:
        """Return the item rows of each query's history, what they say, and their times."""
        history = queries.history
        if history is None:
            return Lists.empty(len(queries)), np.empty(0), None
        if history.labels is not None and (fault := self.histories.interactions.fault(history.labels)):
            raise DataError(f"{fault}. Correct it, or give None for an item that is only known to be liked")
        items = self.histories.catalogue.items.known_rows(history.items, "item")
        return Lists(history.indptr, items), self.histories.values(items, history.labels), history.times

    def _rows(self, queries: Queries) -> Rows:
        """Return the row of each query's user, -1 for someone new.

        Raises:
            DataError: a user that is not known, of whom nothing else is given; features of a known one.
        """
        users = self.histories.catalogue.users
        if queries.users is None:
            return np.full(len(queries), -1, dtype=np.int64)
        rows = users.rows(queries.users)
        described = queries.described
        new = described if queries.history is None else described | queries.history.given
        lacking = np.flatnonzero((rows < 0) & ~new)
        if len(lacking):
            users.known_rows(queries.users.slice(int(lacking[0]), 1), "user", _SOMEONE_NEW)
        both = np.flatnonzero((rows >= 0) & described)
        if len(both):
            raise DataError(
                "features are for users that the model doesn't know; it knows user "
                f"{queries.users[int(both[0])]!r}; leave out the features, or the user"
            )
        return rows

    def ids(self, users: pl.Series, rows: Rows) -> pl.Series:
        """Return the ids of queries' users: in the model's own type, unless a new one is not of it."""
        known, name = self.histories.catalogue.users.ids, self.towers.encoder.schema.user
        if (rows >= 0).all():
            return known.gather(rows).rename(name)
        is_known = pl.Series(rows >= 0)
        own = known.gather(pl.Series(rows).set(~is_known, None))
        written = users.cast(known.dtype, strict=False)
        if (written.is_null() & users.is_not_null() & ~is_known).any():
            own, written = own.cast(pl.String), users.cast(pl.String)
        return own.zip_with(is_known, written).rename(name)


def _places(n: int) -> pl.Series:
    return pl.Series(PLACE, np.arange(n, dtype=np.int64))
