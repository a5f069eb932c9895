"""From scores to lists: ranking baselines put cold items last and break ties by row."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.core.lists import Lists
from twotower.retrieval import exact_top_k

COLD = -1e30
"""Score of an item without training rows: below every model score, above excluded items (-inf)."""


def rank_alike(worth: FloatArray, barred: Lists, n_users: int, k: int) -> NDArray[np.int32]:
    """Rank items in the same order for all users, without each user's excluded items.

    Args:
        worth: (n_items,) scores, not NaN.
        barred: excluded items of each user.
        n_users: number of users.
        k: at least 1.

    Returns:
        (n_users, k) rows, best first, ties by lower row, -1 where candidates run out.
    """
    # The ranks of the distinct values are integers, which float32 represents exactly up to 16 million.
    level = np.unique(worth, return_inverse=True)[1].astype(np.float32)
    return exact_top_k(np.ones((n_users, 1), dtype=np.float32), level[:, None], k, seen=barred).items


def top_rows(scores: FloatArray, k: int) -> NDArray[np.int32]:
    """Return the columns (n, k) of each row's highest scores, best first, ties by lower column.

    Args:
        scores: (n, width), not NaN; minus infinity marks excluded items.
        k: at least 1.

    Returns:
        int32; -1 after the last candidate.
    """
    n, width = scores.shape
    found = np.full((n, k), -1, dtype=np.int32)
    if n and width:
        _fill_top(np.ascontiguousarray(scores, dtype=np.float64), found[:, : min(k, width)])
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _fill_top(scores: FloatArray, found: NDArray[np.int32]) -> None:
    """Write the columns of each row's highest scores, by a heap whose root is the worst entry so far."""
    k = found.shape[1]
    value, column = np.empty(k), np.empty(k, dtype=np.int32)
    for row in range(len(scores)):
        size = 0
        for at in range(scores.shape[1]):
            score = scores[row, at]
            if score == -np.inf or (size == k and score <= value[0]):
                continue  # columns ascend, so that an equal score is worse than those before it
            if size < k:  # sift up
                place = size
                size += 1
                while place and _worse(score, at, value[(place - 1) // 2], column[(place - 1) // 2]):
                    above = (place - 1) // 2
                    value[place], column[place] = value[above], column[above]
                    place = above
                value[place], column[place] = score, at
            else:
                _sift_down(value, column, size, score, at)
        while size:  # the worst first
            size -= 1
            found[row, size] = column[0]
            if size:
                _sift_down(value, column, size, value[size], column[size])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _worse(score: float, at: int, than: float, other: int) -> bool:
    return score < than or (score == than and at > other)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _sift_down(value: FloatArray, column: NDArray[np.int32], size: int, score: float, at: int) -> None:
    """Put an entry in the place of the root."""
    place = 0
    while 2 * place + 1 < size:
        below = 2 * place + 1
        if below + 1 < size and _worse(value[below + 1], column[below + 1], value[below], column[below]):
            below += 1
        if _worse(score, at, value[below], column[below]):
            break
        value[place], column[place] = value[below], column[below]
        place = below
    value[place], column[place] = score, at


def lowest_of_top(scores: FloatArray, k: int) -> FloatArray:
    """Return the ``k``-th highest score of each row (n,); ``k`` is between 1 and the width."""
    width = scores.shape[1]
    if k == width:
        lowest: FloatArray = scores.min(axis=1)
    elif k > width // 32:  # far from an end, and with many ties, sorting is faster than partitioning
        lowest = np.sort(scores, axis=1)[:, width - k]
    else:
        lowest = np.partition(scores, width - k, axis=1)[:, width - k]
    return lowest


def top_mask(scores: FloatArray, k: int) -> NDArray[np.bool_]:
    """Say which entries (n, width) are among each row's ``k`` highest, as `top_rows` chooses them."""
    bars = lowest_of_top(scores, min(k, scores.shape[1]))[:, None]
    above = scores > bars
    tied = (scores == bars) & (scores > -np.inf)
    room = k - above.sum(axis=1, keepdims=True)
    over = np.flatnonzero((tied.sum(axis=1, keepdims=True) > room)[:, 0])
    tied[over] &= np.cumsum(tied[over], axis=1) <= room[over]
    mask: NDArray[np.bool_] = above | tied
    return mask


def values_at(values: FloatArray, places: IntArray) -> FloatArray:
    """Return ``values[..., places]``, with the score of a cold item where a position is -1."""
    taken: FloatArray = values.take(places, axis=-1)  # in row-major order, unlike values[..., places]
    taken[..., places < 0] = COLD
    return taken
