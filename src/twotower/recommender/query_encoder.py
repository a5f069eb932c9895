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
from twotower.data.dataset import Dataset, Frame, to_polars
from twotower.errors import ConfigError, DataError
from twotower.recommender.fitted_towers import FittedTowers, Unknown
from twotower.recommender.histories import Histories, Rows
from twotower.recommender.queries import Features, Queries

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
        vectors: float32 (n, dim).
        rows: int64 (n,), the row of each user in the model, -1 for someone new.
        history: int64 item rows that each brings, besides those of the training set.
        targets: float64 (m,), of the scores of ``history.values``; nan for one that is seen and says
            nothing.
    """

    encoder: QueryEncoder
    queries: Queries
    vectors: F32
    rows: Rows
    history: Lists
    targets: F64

    @cached_property
    def seen(self) -> Lists:
        """The item rows of each, of the training set and of its history."""
        known, history = self.rows >= 0, self.history
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

    def items_of(self, place: int) -> tuple[Rows, F64]:
        """Return all items of a query, of the training set and of its history, and their targets."""
        own = self.history[place], self.targets[self.history.span(place)]
        return self.encoder.whole(int(self.rows[place]), *own)


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
        """Encode queries: known and new users, with features, a history or both.

        Raises:
            DataError: a user or an item is not known, or a feature is not of its kind.
        """
        check_process()
        rows = self._rows(queries)
        vectors, unmoved = self._starts(queries, rows)
        history, targets = self._history(queries)
        for place in np.flatnonzero(history.lengths).tolist():
            start = None if unmoved[place] else vectors[place]
            own = history[place], targets[history.span(place)]
            vectors[place] = self.moved(int(rows[place]), start, *own)
        return EncodedQueries(self, queries, vectors, rows, history, targets)

    def placed(self, which: str, ids: pl.Series, data: Dataset) -> tuple[Rows, F32]:
        """Return the row of each of n ids, and vectors: of all known rows, then of new users or items.

        New ones are encoded by their features in the tables of a data set; one that is in no table has all of
        them missing.

        Args:
            which: "users" or "items".
            ids: (n,).
            data: of the model's schema.
        """
        users, schema, catalogue = which == "users", data.schema, self.histories.catalogue
        known = catalogue.users if users else catalogue.items
        rows = known.rows(ids)
        unknown = rows < 0
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
            vectors = self.towers.encode_part(part, which)
        return rows, np.concatenate([known.vectors, vectors])

    def moved(self, row: int, start: F32 | None, items: Rows, targets: F64) -> F32:
        """Return the vector of a query, float32 (dim,): where it starts, moved by its history.

        What is known of a user without the history, from training or from features, is what its items are
        weighed against.

        Args:
            row: of the user; -1 for someone new.
            start: float32 (dim,), the vector without the history; None for the typical user's.
            items: int64 (n,), item rows of the history.
            targets: float64 (n,), of their scores.
        """
        folding = self.histories.folding
        if start is None:
            return folding.vector(items, targets)
        return folding.moved(start, *self._trained(row), items, targets)

    def whole(self, row: int, items: Rows, targets: F64) -> tuple[Rows, F64]:
        """Return all items of a query, of the training set and of its history, and their targets."""
        trained, of_trained = self._trained(row)
        return np.concatenate([trained, items]), np.concatenate([of_trained, targets])

    def with_items(self, vectors: F32, duration: F64) -> QueryEncoder:
        """Return an encoder of histories that have further items, whose rows follow the catalogue's."""
        return replace(self, histories=self.histories.with_items(vectors, duration))

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
            vectors = self.towers.encode_rows(asked, "items", unknown)
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

    def _history(self, queries: Queries) -> tuple[Lists, F64]:
        """Return the item rows of each query's history, and the targets of their scores."""
        history = queries.history
        if history is None:
            return Lists.empty(len(queries)), np.empty(0)
        if history.labels is not None and (fault := self.histories.interactions.fault(history.labels)):
            raise DataError(f"{fault}. Correct it, or give None for an item that is only known to be liked")
        items = self.histories.catalogue.items.known_rows(history.items, "item")
        return Lists(history.indptr, items), self.histories.liked(items, history.labels)

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

    def _starts(self, queries: Queries, rows: Rows) -> tuple[F32, NDArray[np.bool_]]:
        """Return the vectors without the histories, and which of them are the typical user's."""
        known, typical = self.histories.catalogue.users.vectors, rows < 0
        if not typical.any():
            return known[rows], typical
        starts = np.empty((len(rows), known.shape[1]), dtype=np.float32)
        starts[:] = self.histories.folding.typical
        starts[~typical] = known[rows[~typical]]
        described, unknown = [part for part in queries.features if part.table.width], Unknown()
        for part in described:
            starts[part.places] = self.towers.encode_part(part, "users", unknown)
            typical[part.places] = False
        columns = [one.table.columns for one in described for _ in one.places]
        self.towers.warn_gaps("users", columns, unknown)
        return starts, typical

    def _trained(self, row: int) -> tuple[Rows, F64]:
        """Return a user's items in the training set, none for someone new, and their targets."""
        if row < 0:
            return np.empty(0, np.int64), np.empty(0)
        items, targets = self.histories.of(row)
        return items, self.histories.liked(items, None) if targets is None else targets

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
