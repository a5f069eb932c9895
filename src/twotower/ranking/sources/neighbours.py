"""neighbours, next: items that go with those of the history, by the second stage's item-item matrices."""

from __future__ import annotations

from twotower.ranking.known import Queried
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.pool import Pool
from twotower.ranking.sources.kernels import best_sums
from twotower.ranking.sources.source import Source
from twotower.retrieval import Candidates

DECAY = 0.9
"""What an item of the history counts relative to the next one, for `Next`."""


class ItemNeighbours(Source):
    """Items with the highest sum of cosines to the history: those that the same users have."""

    @staticmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k of each query; none without a history."""
        return _found(queries, pool, k, queries.known.together, 1.0)


class Next(Source):
    """Items that most often came next after those of the history, the last ones before all."""

    timed = True

    @staticmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k of each query; none without a history, or where nothing has a time."""
        return _found(queries, pool, k, queries.known.following, DECAY)


def _found(queries: Queried, pool: Pool, k: int, matrix: Neighbours | None, decay: float) -> Candidates:
    history, made = queries.history, Candidates.empty(len(queries.asked), k)
    if matrix is not None:
        best_sums(
            *(matrix.lists.indptr, matrix.lists.values, matrix.weight),
            *(history.indptr, history.item, history.grade, decay),
            *(pool.places, pool.size, *pool.barred_of(len(queries.asked)).arrays, made.items, made.scores),
        )
    return made
