"""`Reach`: an order of the items in which a search for many users can end early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bound = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], float]
NO_REACH: Final[Bound] = (np.empty(0), np.empty(0), np.empty(0, dtype=np.bool_), 0.0)
"""For candidates in any order, all of which are scored."""


@dataclass(frozen=True, eq=False)
class Reach:
    """Candidates by falling distance from their mean.

    Attributes:
        rows: int32 (n,), the candidates.
        bound: float64 (n,) their distances; float64 (dim,) the mean; bool (dim,) the columns that are not
            the same number in all of them; and, as a part of a user's length, how far rounding can take a
            score.
    """

    rows: NDArray[np.int32]
    bound: Bound

    @classmethod
    def of(cls, items: NDArray[np.float32], rows: NDArray[np.int32] | None) -> Reach | None:
        """Return that of some rows of ``items`` (n_items, dim), all by default; None if one isn't finite."""
        own = np.arange(items.shape[0], dtype=np.int32) if rows is None else rows
        mean, varies = _mean(items, own)
        if not np.isfinite(mean).all():
            return None
        distance, longest = _distances(items, own, mean)
        order = np.argsort(-distance, kind="stable")
        # Each of the sums of a score, dim of them, is rounded once.
        rounding = (items.shape[1] + 2) * float(np.finfo(np.float32).eps) * longest
        return cls(own[order], (distance[order], mean, varies, rounding))


@njit(cache=True, nogil=True)
def _mean(items: Any, rows: Any) -> Any:
    """Return the mean of some rows (dim,), and which columns differ; that of others is their very number."""
    width = items.shape[1]
    mean, varies = np.zeros(width, dtype=np.float64), np.zeros(width, dtype=np.bool_)
    for row in rows:
        for column in range(width):
            mean[column] += items[row, column]
            varies[column] |= items[row, column] != items[rows[0], column]
    mean /= rows.size
    for column in range(width):
        if not varies[column]:
            mean[column] = items[rows[0], column]
    return mean, varies


@njit(cache=True, nogil=True)
def _distances(items: Any, rows: Any, mean: Any) -> Any:
    """Return the distances of some rows from the mean, and the greatest of their lengths."""
    distance, longest = np.empty(rows.size, dtype=np.float64), 0.0
    for place, row in enumerate(rows):
        apart, length = 0.0, 0.0
        for column in range(items.shape[1]):
            x = np.float64(items[row, column])
            length += x * x
            apart += (x - mean[column]) * (x - mean[column])
        distance[place] = np.sqrt(apart)
        longest = max(longest, np.sqrt(length))
    return distance, longest
