"""`Neighbours`: for each item the items that go with it, as an item-item matrix of few entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.ranking.past import Past

MOST = 100
"""Neighbours of an item that are kept."""
SHRINK = 10.0
"""Added to what counts are divided by, so that few common users count for little."""
GAP, DECAY = 8, 0.7
"""How far apart items may be in a history to follow one another, and what each step is worth."""
_BLOCK = 512


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours(ShortRepr):
    """The items that go with each item, at most `MOST`, of highest weight.

    Attributes:
        lists: item rows, for each item.
        weight: float32 (m,), above 0.
    """

    lists: Lists
    weight: NDArray[np.float32]

    @classmethod
    def together(cls, past: Past) -> Neighbours:
        """Return items that the same users have: ``sum of g_ui g_uj / (|g_i| |g_j| + shrink)``.

        The cosine of their columns of grades, shrunk (Deshpande & Karypis, 2004).
        """
        matrix = csr_array(
            (past.grade.astype(np.float64), past.lists.values, past.lists.indptr),
            shape=(len(past.lists), past.n_items),
            copy=True,  # duplicates are summed in place
        )
        matrix.sum_duplicates()
        norm = np.sqrt((matrix.power(2)).sum(axis=0))
        return cls._best(csr_array(matrix.T), matrix, norm, norm)

    @classmethod
    def following(cls, past: Past) -> Neighbours:
        """Return items that follow one another in users' histories: decayed counts of what came within `GAP`
        steps, divided by the roots of how often each item is there."""
        item = past.lists.values
        first, second, weight = _followed(past.lists.indptr, item, past.grade, GAP, DECAY)
        n = past.n_items
        after = csr_array((weight, (first, second)), shape=(n, n))
        count = np.sqrt(np.bincount(item, minlength=n).astype(np.float64))
        one = csr_array((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))
        return cls._best(after, one, count, count)

    @classmethod
    def _best(
        cls,
        left: csr_array,
        right: csr_array,
        rows: NDArray[np.float64],
        columns: NDArray[np.float64],
    ) -> Neighbours:
        lengths, items, weights = [], [], []
        for start in range(0, left.shape[0], _BLOCK):
            block = csr_array(left[start : start + _BLOCK] @ right)
            for row in range(block.shape[0]):
                own = slice(block.indptr[row], block.indptr[row + 1])
                other, value = block.indices[own], block.data[own]
                value = value / (rows[start + row] * columns[other] + SHRINK)
                kept = (other != start + row) & (value > 0)
                other, value = other[kept], value[kept]
                best = np.lexsort((other, -value))[:MOST]
                lengths.append(len(best))
                items.append(other[best].astype(np.int32))
                weights.append(value[best].astype(np.float32))
        return cls(
            Lists.from_lengths(np.array(lengths, np.int64), np.concatenate(items)), np.concatenate(weights)
        )


@njit(cache=True)
def _followed(indptr, item, grade, gap, decay):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return pairs of an item and one that came after it, and the weight of each."""
    total = 0
    for user in range(len(indptr) - 1):
        n = indptr[user + 1] - indptr[user]
        total += sum([max(n - d, 0) for d in range(1, gap + 1)])
    first, second = np.empty(total, np.int32), np.empty(total, np.int32)
    weight, at = np.empty(total, np.float64), 0
    for user in range(len(indptr) - 1):
        for p in range(indptr[user], indptr[user + 1]):
            factor = 1.0
            for q in range(p + 1, min(p + gap + 1, indptr[user + 1])):
                first[at], second[at], weight[at] = item[p], item[q], factor * grade[p] * grade[q]
                factor *= decay
                at += 1
    return first, second, weight
