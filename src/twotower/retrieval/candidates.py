"""`Candidates`: the items found for each query, as they pass from one stage to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.reprs import ShortRepr


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(ShortRepr):
    """The items found for each query, best first; equal scores by lower item row.

    Row q answers query q. A query with fewer than k items is padded at the end: its item is -1 and its score
    -inf.

    >>> found = Candidates(np.array([[4, 2], [7, -1]]), np.array([[3.0, 1.0], [2.0, -np.inf]]))
    >>> [part.tolist() for part in found.flat()]
    [[0, 0, 1], [1, 2, 1], [4, 2, 7], [3.0, 1.0, 2.0]]

    Attributes:
        items: (n_queries, k) int32 rows of items, or of users where these are searched.
        scores: (n_queries, k) float32, falling.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    @staticmethod
    def empty(n_queries: int, k: int) -> Candidates:
        """Return padding alone, to be written in."""
        return Candidates(
            np.full((n_queries, k), -1, dtype=np.int32), np.full((n_queries, k), -np.inf, dtype=np.float32)
        )

    def flat(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return all that was found without the padding: query, rank (from 1), item and score, each (n,)."""
        query, place = np.nonzero(self.items >= 0)
        return query, (place + 1).astype(np.int32), self.items[query, place], self.scores[query, place]

    def first(self, k: int) -> Candidates:
        """Return the best k."""
        return self if self.items.shape[1] <= k else Candidates(self.items[:, :k], self.scores[:, :k])

    def merged(self, others: Candidates, first_row: int, k: int) -> Candidates:
        """Return the best k of both; the items of ``others`` are numbered from ``first_row`` on."""
        later = np.where(others.items >= 0, others.items + first_row, -1)
        items = np.concatenate([self.items, later], axis=1)
        scores = np.concatenate([self.scores, others.scores], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Candidates(
            np.take_along_axis(items, order, axis=1).astype(np.int32),
            np.take_along_axis(scores, order, axis=1),
        )
