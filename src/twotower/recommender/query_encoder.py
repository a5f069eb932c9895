"""`QueryEncoder`: vectors of queries, and of items that are asked about, known ones and new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import as_series
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.data.dataset import to_polars
from twotower.errors import ConfigError, DataError
from twotower.recommender.histories import Histories, Rows, Targets
from twotower.recommender.newcomers import Newcomers
from twotower.recommender.query import Query, as_queries, listed

PLACE = "query"
"""The column that says which query or new item a row answers, counted from 0."""
_SOMEONE_NEW = (
    " For someone new give tt.Query(history=[...]) or tt.Query(features={...}); on the command line give "
    "--item ID."
)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Users or items as a search asks about them.

    Attributes:
        vectors: float32 (n, dim).
        rows: int64 (n,), the row of each in the model, -1 for a new one.
        names: columns (n,), the first ones of an answer: ids, or the place of the query, or both.
        seen: the items of each user, of the training set and of the query; of items empty lists.
    """

    vectors: NDArray[np.float32]
    rows: Rows
    names: tuple[pl.Series, ...]
    seen: Lists


@dataclass(frozen=True, eq=False)
class QueryEncoder:
    """Encodes queries and items.

    Attributes:
        histories: the users and items known, and what their interactions say.
        newcomers: what encodes features.
    """

    histories: Histories
    newcomers: Newcomers

    def users(self, asked: Any) -> Encoded:
        """Return the users of ids, of a query, or of a list of both.

        Raises:
            ConfigError: nobody is asked about.
            DataError: a user or an item is not known, or a feature is not of its kind.
        """
        check_process()
        asked = listed(asked)
        queries = as_queries(asked)
        if queries is not None:
            return self._queries(queries)
        known = self.histories.users
        rows = known.known(asked, "user", _SOMEONE_NEW)
        if not len(rows):
            raise ConfigError("there must be at least one user, got none")
        return self.known_users(rows)

    def known_users(self, rows: Rows) -> Encoded:
        """Return known users by their rows."""
        users = self.histories.users
        ids = users.ids.gather(rows).rename(self.histories.schema.user)
        return Encoded(users.vectors[rows], rows, (ids,), self.histories.seen.of(rows))

    def past(self, query: Query) -> tuple[NDArray[np.float32], Rows, Targets]:
        """Return a query's vector, the item rows of its whole history, and their targets."""
        (row,) = self._rows([query])
        (start,) = self._starts([query], np.array([row]))
        fresh = self.histories.items.known(list(query.items), "item")
        return self._moved(row, start, fresh, self.histories.liked(fresh, query.labels))

    def items(self, asked: Any) -> Encoded:
        """Return the items of ids, or new items of features: a table, a dict or a list of dicts.

        Raises:
            ConfigError: there is no item, or ids and features are mixed.
            DataError: an item is not known, or a feature is not of its kind.
        """
        check_process()
        asked = listed(asked)
        if isinstance(asked, Mapping):
            asked = [asked]
        column = self.histories.schema.item
        if isinstance(asked, Sequence) and any(isinstance(one, Mapping) for one in asked):
            if not all(isinstance(one, Mapping) for one in asked):
                raise ConfigError(
                    "items are ids, or the features of new items as dicts; got both in one list, so ask twice"
                )
            vectors = self.newcomers.encode_rows(asked, "items")
            ids = [one[column] for one in asked if column in one]
            names = as_series(ids, "items") if len(ids) == len(asked) else None
        elif _is_frame(asked):
            table = to_polars(asked)
            vectors = self.newcomers.encode(table, "items")
            names = table.get_column(column) if column in table.columns else None
        else:
            known = self.histories.items
            rows = known.known(asked, "item")
            if not len(rows):
                raise ConfigError("there must be at least one item, got none")
            own = known.ids.gather(rows).rename(column)
            return Encoded(known.vectors[rows], rows, (own,), Lists.empty(len(rows)))
        new = _places(len(vectors)) if names is None else names.rename(column)
        return Encoded(vectors, np.full(len(vectors), -1), (new,), Lists.empty(len(vectors)))

    def _queries(self, queries: Sequence[Query]) -> Encoded:
        rows = self._rows(queries)
        vectors = self._starts(queries, rows)
        items = self.histories.items.known([item for query in queries for item in query.items], "item")
        ends = np.cumsum([len(query.items) for query in queries])
        seen = []
        for place, (query, fresh) in enumerate(zip(queries, np.split(items, ends[:-1]), strict=True)):
            if len(fresh):
                targets = self.histories.liked(fresh, query.labels)
                vectors[place], all_rows, _ = self._moved(rows[place], vectors[place], fresh, targets)
            else:
                all_rows = self.histories.of(int(rows[place]))[0] if rows[place] >= 0 else fresh
            seen.append(all_rows)
        names: tuple[pl.Series, ...] = (_places(len(queries)),)
        users = [query.user for query in queries]
        if any(user is not None for user in users):
            names = (*names, self._ids(users, rows))
        return Encoded(vectors, rows, names, Lists.from_groups(seen))

    def _rows(self, queries: Sequence[Query]) -> Rows:
        """Return the row of each query's user, -1 for someone new.

        Raises:
            DataError: a user that is not known, of whom nothing else is given; features of a known one.
        """
        rows = np.full(len(queries), -1, dtype=np.int64)
        asked = [place for place, query in enumerate(queries) if query.user is not None]
        users = self.histories.users
        if asked:
            rows[asked] = users.rows(as_series([queries[place].user for place in asked], "users"))
        for query, row in zip(queries, rows, strict=True):
            if row < 0 and query.history is None and query.features is None:
                users.known(query.user, "user", _SOMEONE_NEW)  # type: ignore[arg-type]
            if row >= 0 and query.features is not None:
                raise DataError(
                    f"features are for users that the model doesn't know; it knows user {query.user!r}; "
                    "leave out the features, or the user"
                )
        return rows

    def _starts(self, queries: Sequence[Query], rows: Rows) -> NDArray[np.float32]:
        """Return vectors (n, dim) without the histories of the queries."""
        vectors = np.tile(self.histories.folding.typical, (len(queries), 1))
        vectors[rows >= 0] = self.histories.users.vectors[rows[rows >= 0]]
        described = [place for place, query in enumerate(queries) if query.features]
        if described:
            features = [queries[place].features or {} for place in described]
            vectors[described] = self.newcomers.encode_rows(features, "users")
        return vectors

    def _moved(
        self, row: int, start: NDArray[np.float32], fresh: Rows, targets: Targets
    ) -> tuple[NDArray[np.float32], Rows, Targets]:
        """Return the vector after further items, all item rows, and their targets.

        What is known of the user without these items, from training or from features, is the start that they
        are weighed against.
        """
        folding = self.histories.folding
        if row < 0:
            if np.array_equal(start, folding.typical):
                return folding.vector(fresh, targets), fresh, targets
            none = np.empty(0, np.int64)
            return folding.moved(start, none, None, fresh, targets), fresh, targets
        past, before = self.histories.of(row)
        vector = folding.moved(start, past, before, fresh, targets)
        if before is None and targets is None:
            return vector, np.append(past, fresh), None
        positive = folding.settings.positive
        each = [
            np.full(len(own), positive) if of is None else of
            for own, of in ((past, before), (fresh, targets))
        ]
        return vector, np.append(past, fresh), np.concatenate(each)

    def _ids(self, users: Sequence[Any], rows: Rows) -> pl.Series:
        """Return the ids of queries' users: in the model's own type, unless a new one is not of it."""
        known = self.histories.users.ids
        new = [user for user, row in zip(users, rows, strict=True) if row < 0 and user is not None]
        written = iter(pl.Series(new, strict=False).cast(known.dtype, strict=False).to_list())
        ids = [
            known[int(row)] if row >= 0 else None if user is None else next(written)
            for user, row in zip(users, rows, strict=True)
        ]
        lost = any(user is not None and own is None for user, own in zip(users, ids, strict=True))
        if lost:
            ids = [user if own is None else own for user, own in zip(users, ids, strict=True)]
            return pl.Series(self.histories.schema.user, [None if i is None else str(i) for i in ids])
        return pl.Series(self.histories.schema.user, ids, dtype=known.dtype)


def itself(encoded: Encoded) -> Lists:
    """Return lists that hold the row of each, and nothing for new ones."""
    known = encoded.rows >= 0
    return Lists.from_lengths(known, encoded.rows[known].astype(np.int32))


def _places(n: int) -> pl.Series:
    return pl.Series(PLACE, np.arange(n, dtype=np.int64))


def _is_frame(value: object) -> bool:
    return type(value).__name__ in ("DataFrame", "LazyFrame")
