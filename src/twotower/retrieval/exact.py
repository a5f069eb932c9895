"""Exact top-k by scanning every candidate: the reference that every approximate index is checked against.

The scores of a block of users and a tile of items are computed and compared while both lie in the first-level
cache, so the (users, items) score matrix is never written: memory beyond the result does not depend on the
number of users. A user keeps the best k so far in a heap, whose worst is the bar that the next score must
pass; after the first few hundred items hardly any does, and a tile costs little more than its dot products.

A user's answer is the same bits alone or in a batch of thousands: each score is summed by the same
instructions in the same order whoever is asked beside it, which a matrix product of a library does not
promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from twotower.errors import ConfigError, DataError

Seen = tuple[NDArray[np.int64], NDArray[np.int32]]

_FASTMATH = {"contract", "reassoc", "nsz", "arcp"}  # a dot product may be reordered (SIMD); NaN stays NaN
_TILE = 64  # items whose vectors share the first-level cache with the block's
_BLOCK = 16  # users of a block: as often each item's vector is used once it is near


@dataclass(frozen=True, eq=False)
class TopK:
    """The best items of each user, best first; equal scores by lower item row.

    Attributes
    ----------
    items
        (n_users, k) int32 rows of items; -1 where a user has fewer than k candidates.
    scores
        (n_users, k) float32, falling; -inf where ``items`` is -1.

    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


def exact_top_k(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    k: int,
    *,
    seen: Seen | None = None,
    allow: ArrayLike | None = None,
) -> TopK:
    """Find each user's k items of highest score ``users[u] . items[i]`` among the candidates.

    Parameters
    ----------
    users, items
        (n_users, dim) and (n_items, dim) float32.
    k
        At least 1; it may exceed the number of candidates.
    seen
        ``(indptr, item)``, (n_users + 1,) and (n,): user ``u`` is never given ``item[indptr[u]:indptr[u +
        1]]``.
    allow
        The items that may be given to anyone: a mask (n_items,) bool, or item rows, in any order. None is
        all.

    Returns
    -------
    TopK
        Best first. An item whose score is NaN is never given.

    Raises
    ------
    ConfigError
        ``k`` below 1.
    DataError
        ``seen`` or ``allow`` of the wrong shape or kind, or naming an item that does not exist.

    """
    if k < 1:
        raise ConfigError(f"`k` must be at least 1; got {k}.")
    users, items = np.ascontiguousarray(users, np.float32), np.ascontiguousarray(items, np.float32)
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise ValueError(
            f"users and items must be matrices of one width; got shapes {users.shape} and {items.shape}."
        )
    n_users, n_items = users.shape[0], items.shape[0]
    indptr, seen_item = _seen_columns(seen, n_users, n_items)
    rows = None if allow is None else _allowed_rows(allow, n_items)
    if rows is not None:
        place = np.full(n_items, -1, dtype=np.int32)  # of each item among the candidates
        place[rows] = np.arange(rows.size, dtype=np.int32)
        items, seen_item = items[rows], place[seen_item]

    found = np.full((n_users, k), -1, dtype=np.int32)
    scores = np.full((n_users, k), -np.inf, dtype=np.float32)
    block = max(1, min(_BLOCK, -(-n_users // numba.get_num_threads())))
    if n_users <= block:  # nothing to share out, and waking threads costs as much as a small catalogue
        _top_of_block(users, items, indptr, seen_item, 0, n_users, found, scores)
    else:
        _top_of_all(users, items, indptr, seen_item, block, found, scores)
    if rows is not None:
        found = np.append(rows, np.int32(-1))[found]  # place -1, no item, reads the -1 put at the end
    return TopK(found, scores)


def _seen_columns(
    seen: Seen | None, n_users: int, n_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    if seen is None:
        return np.zeros(n_users + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    indptr, item = np.ascontiguousarray(seen[0], np.int64), np.asarray(seen[1])
    if (
        indptr.shape != (n_users + 1,)
        or indptr[0] != 0
        or indptr[-1] != item.size
        or (np.diff(indptr) < 0).any()
    ):
        raise DataError(
            f"`seen` must be (indptr, item) indptr rising from 0 to the number of items over {n_users + 1} "
            f"places; got indptr of shape {indptr.shape} for {item.size} items."
        )
    return indptr, _item_rows("seen", item, n_items)


def _allowed_rows(allow: ArrayLike, n_items: int) -> NDArray[np.int32]:
    """Candidate rows, ascending, each once."""
    given = np.asarray(allow)
    if given.dtype == np.bool_:
        if given.shape != (n_items,):
            raise DataError(f"`allow` as a mask must have shape ({n_items},); got {given.shape}.")
        return np.flatnonzero(given).astype(np.int32)
    return np.unique(_item_rows("allow", given, n_items))


def _item_rows(name: str, given: NDArray[np.generic], n_items: int) -> NDArray[np.int32]:
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise DataError(
            f"`{name}` must hold item rows (integers, one axis); got {given.dtype} of shape {given.shape}."
        )
    if given.size and (given.min() < 0 or given.max() >= n_items):
        raise DataError(f"`{name}` must name items in [0, {n_items}); got {given.min()} to {given.max()}.")
    return np.ascontiguousarray(given, dtype=np.int32)


@njit(cache=True, parallel=True)
def _top_of_all(  # type: ignore[no-untyped-def]
    users, items, indptr, seen_item, block, found, scores
):
    """`_top_of_block` for blocks of ``block`` users, shared out over the threads."""
    n_users = users.shape[0]
    for b in prange((n_users + block - 1) // block):
        first = b * block
        last = min(first + block, n_users)
        _top_of_block(users, items, indptr, seen_item, first, last, found, scores)


@njit(cache=True, fastmath=_FASTMATH, nogil=True)
def _top_of_block(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    users, items, indptr, seen_item, first, last, found, scores
):
    """Fill the rows ``first:last`` of ``found`` and ``scores``, (n_users, k), which serve as the heaps."""
    n_items, width = items.shape
    k = min(found.shape[1], n_items)
    barred = np.zeros((last - first, n_items), dtype=np.bool_)
    for u in range(first, last):
        for p in range(indptr[u], indptr[u + 1]):
            if seen_item[p] >= 0:
                barred[u - first, seen_item[p]] = True
    size = np.zeros(last - first, dtype=np.int64)
    tile = np.empty(_TILE, dtype=np.float32)
    end = np.uint64(n_items - 1)  # unsigned: indexing need not look at negative values
    for start in range(0, n_items, _TILE):
        n = min(_TILE, n_items - start)
        for u in range(first, last):
            # Four items at a time: the user's numbers are read once for the four. Past the end the last item
            # is scored again, so that every score comes out of this one loop.
            for j in range(0, n, 4):
                a, b = np.uint64(start + j), min(np.uint64(start + j + 1), end)
                c, d = min(np.uint64(start + j + 2), end), min(np.uint64(start + j + 3), end)
                s_a, s_b, s_c, s_d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for w in range(width):
                    s_a += users[u, w] * items[a, w]
                    s_b += users[u, w] * items[b, w]
                    s_c += users[u, w] * items[c, w]
                    s_d += users[u, w] * items[d, w]
                tile[j], tile[j + 1], tile[j + 2], tile[j + 3] = s_a, s_b, s_c, s_d
            row, score, taken = found[u], scores[u], size[u - first]
            for j in range(n):
                s = tile[j]
                # A full heap's bar must be passed strictly: of equal scores the earlier item stays.
                if taken < k:
                    if not np.isnan(s) and not barred[u - first, start + j]:
                        _rise(score, row, taken, s, start + j)
                        taken += 1
                elif s > score[0] and not barred[u - first, start + j]:
                    _sink(score, row, k, s, start + j)
            size[u - first] = taken
    for u in range(first, last):
        # Take the worst out, again and again, and put it at the end.
        for n in range(size[u - first] - 1, 0, -1):
            s, i = scores[u, n], found[u, n]
            scores[u, n], found[u, n] = scores[u, 0], found[u, 0]
            _sink(scores[u], found[u], n, s, i)


@njit(cache=True)
def _worse(s, i, t, j):  # type: ignore[no-untyped-def]
    """Whether score ``s`` of item ``i`` ranks below score ``t`` of item ``j``."""
    return s < t or (s == t and i > j)


@njit(cache=True)
def _rise(score, row, place, s, i):  # type: ignore[no-untyped-def]
    """Add ``(s, i)`` at ``place``, the end of a heap whose worst is at 0, and let it rise past the better."""
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(s, i, score[parent], row[parent]):
            break
        score[place], row[place] = score[parent], row[parent]
        place = parent
    score[place], row[place] = s, i


@njit(cache=True)
def _sink(score, row, n, s, i):  # type: ignore[no-untyped-def]
    """Put ``(s, i)`` in the place of the worst of the heap ``[:n]`` and let it sink below the worse."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and _worse(score[child + 1], row[child + 1], score[child], row[child]):
            child += 1
        if not _worse(score[child], row[child], s, i):
            break
        score[place], row[place] = score[child], row[child]
        place = child
    score[place], row[place] = s, i
