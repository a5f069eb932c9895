"""From scores to lists: the order of items that ranking baselines share, cold ones last, ties by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.data.item_lists import ItemLists
from twotower.retrieval import exact_top_k

COLD = -1e30
"""Score of an item without train rows: below every score of a model, above what is barred (-inf)."""


def rank_alike(worth: FloatArray, barred: ItemLists, n_users: int, k: int) -> NDArray[np.int32]:
    """Rank items by one order for all users, each without what is barred to it.

    Args:
        worth: (n_items,), not NaN.
        barred: for the users.
        n_users: number of users.
        k: at least 1.

    Returns:
        (n_users, k) rows, best first, equal ones by lower row, -1 where candidates run out.
    """
    # The places of the distinct values are whole numbers, which float32 holds exactly up to 16 million.
    level = np.unique(worth, return_inverse=True)[1].astype(np.float32)
    return exact_top_k(np.ones((n_users, 1), dtype=np.float32), level[:, None], k, seen=barred).items


def top_rows(scores: FloatArray, k: int) -> NDArray[np.int32]:
    """Return the columns (n, k) of each row's highest scores, best first, equal ones by lower column.

    Args:
        scores: (n, width), not NaN; minus infinity is no candidate.
        k: at least 1.

    Returns:
        int32; -1 after the last candidate.
    """
    n, width = scores.shape
    found = np.full((n, k), -1, dtype=np.int32)
    taken = min(k, width)
    if not taken or not n:
        return found
    # All that reach the k-th highest, and so all that tie with it: which of those a partition puts first is
    # anyone's guess.
    bars = np.partition(scores, width - taken, axis=1)[:, width - taken]  # (n,)
    for row, (score, bar) in enumerate(zip(scores, bars, strict=True)):
        chosen = np.flatnonzero((score >= bar) & (score > -np.inf))
        best = chosen[np.argsort(-score[chosen], kind="stable")[:taken]]
        found[row, : best.size] = best
    return found


def values_at(values: FloatArray, places: IntArray) -> FloatArray:
    """Return ``values[..., places]``, and the score of a cold item where a place is -1."""
    taken: FloatArray = values[..., places]
    taken[..., places < 0] = COLD
    return taken
