"""Scores of given pairs, without a loss: for evaluation and batch scoring."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from twotower.errors import DataError
from twotower.kernels.pair_loop import FASTMATH


def score_pairs(
    U: NDArray[np.float32], V: NDArray[np.float32], user: ArrayLike, item: ArrayLike
) -> NDArray[np.float32]:
    """Score each pair: ``out[p] = U[user[p]] . V[item[p]]``.

    Args:
        U, V: (n_users, dim) and (n_items, dim) float32.
        user, item: (n,) rows of ``U`` and of ``V``.

    Returns:
        (n,) float32. A pair's score does not depend on the other pairs.
    """
    U, V = np.ascontiguousarray(U, dtype=np.float32), np.ascontiguousarray(V, dtype=np.float32)
    if U.ndim != 2 or V.ndim != 2 or U.shape[1] != V.shape[1]:
        raise ValueError(f"U and V must be matrices of the same width; got shapes {U.shape} and {V.shape}.")
    users, items = _rows("user", user, U.shape[0]), _rows("item", item, V.shape[0])
    if users.size != items.size:
        raise DataError(f"`item` must have the length of `user` ({users.size}); got {items.size}.")
    scores: NDArray[np.float32] = _score(U, V, users, items)
    return scores


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _score(U, V, user, item):  # type: ignore[no-untyped-def]
    out = np.empty(user.size, dtype=np.float32)
    for p in prange(user.size):
        u, i = (
            np.uint64(user[p]),
            np.uint64(item[p]),
        )  # unsigned: indexing skips the check for negative values
        s = np.float32(0)
        for k in range(U.shape[1]):
            s += U[u, k] * V[i, k]
        out[p] = s
    return out


def _rows(name: str, values: ArrayLike, bound: int) -> NDArray[np.int64]:
    rows = np.asarray(values)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise DataError(f"`{name}` must be one column of integers; got {rows.dtype} of shape {rows.shape}.")
    if rows.size and (rows.min() < 0 or rows.max() >= bound):
        raise DataError(f"`{name}` must lie in [0, {bound}); got {rows.min()} to {rows.max()}.")
    return rows.astype(np.int64, copy=False)
