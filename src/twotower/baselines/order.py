"""From scores to lists: ranking baselines put cold items last and break ties by row."""

from __future__ import annotations

import numpy as np
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
    taken = min(k, width)
    if not taken or not n:
        return found
    # All scores that reach the k-th highest, including ties, whose order in a partition is undefined.
    bars = lowest_of_top(scores, taken)  # (n,)
    for row, (score, bar) in enumerate(zip(scores, bars, strict=True)):
        chosen = np.flatnonzero((score >= bar) & (score > -np.inf))
        best = chosen[np.argsort(-score[chosen], kind="stable")[:taken]]
        found[row, : best.size] = best
    return found


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
    taken: FloatArray = values[..., places]
    taken[..., places < 0] = COLD
    return taken
