"""`Known`: what the second stage knows of a model; `Queried` and `Batch`: with queries and candidates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.ranking.asked import Asked
from twotower.ranking.columns import Feature
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.past import History, Past
from twotower.retrieval import Candidates

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """One of several models whose scores are added up.

    Attributes:
        name: its kind of towers.
        first, last: where its numbers lie in vectors.
    """

    name: str
    first: int
    last: int


@dataclass(frozen=True, eq=False, repr=False)
class Known(ShortRepr):
    """What candidates are judged by: the model's vectors, its training set, and features.

    Attributes:
        past: the interactions of the training set.
        vectors: float32 (n_items, dim) of the items.
        directions: float32 (n_items, width), of length 1, without biases.
        members: of a sum of models.
        user_columns, item_columns, context_columns: names of the columns of the tables.
        users: float32 (n_users, width), the features of known users.
        items: float32 (n_items, width).
        values: column -> the categories of each item, and how many there are.
        together, following: item-item matrices; the second is None without times.
        sources: names of the further sources of candidates.
    """

    past: Past
    vectors: F32
    directions: F32
    members: tuple[Member, ...]
    user_columns: tuple[Feature, ...]
    item_columns: tuple[Feature, ...]
    context_columns: tuple[Feature, ...]
    users: F32
    items: F32
    values: dict[str, tuple[Lists, int]]
    together: Neighbours
    following: Neighbours | None
    sources: tuple[str, ...] = ()

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.vectors)

    @cached_property
    def orders(self) -> dict[float, tuple[Rows, F32]]:
        """Orders of all items that sources keep, by the length of their window in seconds."""
        return {}


@dataclass(frozen=True, eq=False)
class Queried:
    """Queries with what is known.

    Attributes:
        known: of the model.
        asked: n queries.
    """

    known: Known
    asked: Asked

    @cached_property
    def history(self) -> History:
        """What each query did before."""
        return self.known.past.histories(self.asked)

    @cached_property
    def at(self) -> F64:
        """Strictly before which time a query knows interactions, seconds (n,); inf for all of them."""
        n = len(self.asked)
        return (
            np.full(n, np.inf)
            if self.asked.at is None
            else np.where(np.isnan(self.asked.at), np.inf, self.asked.at)
        )

    @cached_property
    def now(self) -> F64:
        """The time of each query, at most the end of the training set, seconds (n,)."""
        return (
            np.minimum(self.at, self.known.past.end)
            if np.isfinite(self.known.past.end)
            else (np.full(len(self.asked), np.nan))
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Queries with their candidates, one pair after another.

    Attributes:
        queries: n queries, with what is known.
        indptr: int64 (n + 1,): query ``q`` has the pairs ``indptr[q]:indptr[q + 1]``.
        item: int64 (n_pairs,) item rows; -1 for an item that the model doesn't know.
        score: float32 (n_pairs,), of the towers.
        offered: float32 (n_pairs, 2 n_sources), score and rank by each further source, nan for what it did
            not find; None without further sources.
    """

    queries: Queried
    indptr: Rows
    item: Rows
    score: F32
    offered: F32 | None = None

    @classmethod
    def of(
        cls, queries: Queried, found: Candidates, rows: Rows | None = None, offered: F32 | None = None
    ) -> Batch:
        """Build from what was found, without the padding.

        Args:
            queries: n of them.
            found: their candidates.
            rows: the model's row of each item that candidates may name, -1 for one it doesn't know; None if
                candidates are rows of the model.
            offered: (n, k, 2 n_sources), what further sources say of the candidates.
        """
        inside = found.items >= 0
        item = found.items[inside].astype(np.int64)
        if rows is not None:
            item = rows[item]
        item[item >= queries.known.n_items] = -1
        indptr = np.append(0, np.cumsum(inside.sum(axis=1)))
        said = None if offered is None else offered[inside]
        return cls(queries, indptr, item, found.scores[inside], said)

    @property
    def known(self) -> Known:
        """What is known of the model."""
        return self.queries.known

    @property
    def asked(self) -> Asked:
        """The queries."""
        return self.queries.asked

    @property
    def history(self) -> History:
        """What each query did before."""
        return self.queries.history

    @property
    def at(self) -> F64:
        """See `Queried.at`."""
        return self.queries.at

    @property
    def now(self) -> F64:
        """See `Queried.now`."""
        return self.queries.now

    @cached_property
    def owner(self) -> Rows:
        """The query of each pair, int64 (n_pairs,)."""
        return np.repeat(np.arange(len(self.asked)), np.diff(self.indptr))
