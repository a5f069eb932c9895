"""Exact top-k by scanning every candidate: the reference that every approximate index is checked against.

The (users, items) score matrix is never written: a tile of items is scored for a block of users while it lies
in the nearest cache, and only what passes the bar of a user's best k so far is kept. Of many users most items
need not be scored at all (`Reach`). Memory beyond the result
does not depend on the number of users.

A user's answer is the same bits alone or in a batch of thousands: each score is summed in the same order
whoever is asked beside it, which a matrix product of a library does not promise.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.core.lists import AnyLists, Lists
from twotower.errors import ConfigError
from twotower.retrieval import kernels
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.filters import candidate_rows
from twotower.retrieval.reach import NO_REACH, Reach

_ALONE = 16  # up to here threads cost more to start than they save on a catalogue of ten thousand items
_MANY = 64  # users, and tiles of items, from which on an order of the items is worth its time
_KEYS = 1 << 22  # of a block's best so far, at most: 32 MiB a thread
_TURNED = 1 << 23  # numbers of the items: 32 MiB
_NO_TILES = np.zeros((0, 0, kernels.TILE), dtype=np.float32)


def exact_top_k(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    k: int,
    *,
    seen: AnyLists | None = None,
    allow: ArrayLike | None = None,
    deny: ArrayLike | None = None,
    tiles: NDArray[np.float32] | None = None,
) -> Candidates:
    """Find each user's k items of highest score ``users[u] . items[i]`` among the candidates.

    Args:
        users, items: (n_users, dim) and (n_items, dim) float32.
        k: at least 1; it may exceed the number of candidates.
        seen: item rows that each user is never given; `Lists`, or ``(indptr, item)``, (n_users + 1,) and
            (n,).
        allow, deny: the items that may be given to anyone, and those that may not: a mask (n_items,) bool, or
            item rows, in any order. None allows all and denies none.
        tiles: `turned` of the items, with which one or two users are answered several times as fast.

    Returns:
        Best first. An item whose score is NaN is never given.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: ``seen``, ``allow`` or ``deny`` of the wrong shape or kind, or naming an item that does not
            exist.
    """
    check_k(k)
    users, items = np.ascontiguousarray(users, np.float32), np.ascontiguousarray(items, np.float32)
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise ValueError(
            f"users and items must be matrices of one width; got shapes {users.shape} and {items.shape}."
        )
    n_users, n_items = users.shape[0], items.shape[0]
    if tiles is not None and tiles.shape != kernels.turned_shape(n_items, items.shape[1]):
        raise ValueError(f"tiles must be those of the items; got shape {tiles.shape} for {items.shape}.")
    lists = Lists.check("`seen`", seen, n_users, n_items)
    return scan(users, items, k, lists, candidate_rows(allow, deny, n_items), tiles)


def turned(items: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return items (n_items, dim) as `exact_top_k` reads them fastest; None if they have over 32 MiB."""
    if items.size > _TURNED:
        return None
    tiles: NDArray[np.float32] = kernels.turned_tiles(np.ascontiguousarray(items, np.float32))
    return tiles


def check_k(k: int) -> None:
    """Refuse a k that is not a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ConfigError(f"`k` must be a whole number of at least 1; got {k!r}.")


def scan(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    k: int,
    seen: Lists,
    rows: NDArray[np.int32] | None,
    tiles: NDArray[np.float32] | None = None,
) -> Candidates:
    """Do as `exact_top_k` with checked arguments: contiguous, candidates ascending, None for all."""
    top = Candidates.empty(users.shape[0], k)
    if items.shape[0] == 0 or (rows is not None and rows.size == 0):
        return top
    n = items.shape[0] if rows is None else rows.size
    panels, reach = _NO_TILES if tiles is None else tiles, NO_REACH
    if users.shape[0] >= _MANY and n >= _MANY * kernels.TILE and (found := Reach.of(items, rows)) is not None:
        rows, panels, reach = found.rows, _NO_TILES, found.bound
    most = max(1, min(kernels.BLOCK, _KEYS // (2 * min(k, n) + kernels.TILE)))

    def work(first: int, last: int) -> None:
        kernels.top_of_block(
            users, items, rows, panels, reach, *seen.arrays, first, last, top.items, top.scores
        )

    share(work, users.shape[0], most)
    return top


def rescore(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    k: int,
    seen: Lists,
    allowed: NDArray[np.bool_] | None,
    found: NDArray[np.int64],
) -> Candidates:
    """Return the best k among the items ``found`` for each user, (n_users, any), -1 where there is none.

    Scores are the bits of `exact_top_k`, and so is their order. ``allowed`` (n_items,) is a mask; None is
    all.
    """
    top = Candidates.empty(users.shape[0], k)

    def work(first: int, last: int) -> None:
        kernels.top_of_rows(users, items, found, allowed, *seen.arrays, first, last, top.items, top.scores)

    share(work, users.shape[0], kernels.BLOCK)
    return top


def share(work: Callable[[int, int], None], n: int, most: int) -> None:
    """Call ``work(first, last)`` for all of ``range(n)``, at most ``most`` at a time, on Numba's threads.

    These are Python threads, since the work releases the interpreter lock. Numba's parallel loops would abort
    the process if two requests search at once and neither OpenMP nor TBB is installed.
    """
    threads = 1 if n <= _ALONE else numba.get_num_threads()
    block = max(1, min(most, -(-n // threads)))
    starts = range(0, n, block)
    if threads == 1 or len(starts) == 1:
        for first in starts:
            work(first, min(first + block, n))
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda first: work(first, min(first + block, n)), starts):
            pass  # raises what a thread raised
