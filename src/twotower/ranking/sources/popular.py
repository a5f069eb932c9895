"""popular, recent: what is taken most, ever or in the last days, up to the time of the query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twotower.ranking.known import Known, Queried
from twotower.ranking.pool import Pool
from twotower.ranking.sources.kernels import first_open, window_sums
from twotower.ranking.sources.source import Source
from twotower.retrieval import Candidates

DAYS = 30.0
"""Length of the window of `Recent`."""
_DAY = 86_400.0
Order = tuple[NDArray[np.int64], NDArray[np.float32]]


class Popular(Source):
    """Items with the highest sum of grades, the same for all who ask at one time."""

    @staticmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k of each query."""
        return _found(queries, pool, k, np.inf)


class Recent(Source):
    """Items with the highest sum of grades in the last 30 days before the query, or of the training set."""

    timed = True

    @staticmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k of each query."""
        return _found(queries, pool, k, DAYS * _DAY)


def _found(queries: Queried, pool: Pool, k: int, seconds: float) -> Candidates:
    known, n = queries.known, len(queries.asked)
    # who asks after the end of the training set knows all of it
    at = np.where(queries.at > known.past.end, np.inf, queries.at)
    moments, of = np.unique(at, return_inverse=True)
    orders = [_order(known, float(moment), seconds) for moment in moments]
    made = Candidates.empty(n, k)
    barred = pool.barred_of(n)
    if n:
        first_open(
            np.stack([rows for rows, _ in orders]),
            np.stack([score for _, score in orders]),
            of.astype(np.int64),
            *(pool.places, pool.size, *barred.arrays, made.items, made.scores),
        )
    return made


def _order(known: Known, at: float, seconds: float) -> Order:
    """Return all items best first, those that nobody took as -1, and what they count; kept for ``at = inf``,
    as most queries have it."""
    kept = known.orders.get(seconds) if np.isinf(at) else None
    if kept is not None:
        return kept
    start = min(at, known.past.end) - seconds if np.isfinite(seconds) else -np.inf
    total = np.empty(known.n_items)
    window_sums(*known.past.of_items, start, at, total)
    order = np.argsort(-total, kind="stable")
    found = np.where(total[order] > 0, order, -1), total[order].astype(np.float32)
    if np.isinf(at):
        known.orders[seconds] = found
    return found
