"""The format of top-k lists, and its validation."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from twotower.core.lists import AnyLists, Lists
from twotower.errors import DataError

TopRows = NDArray[np.int32]
"""The recommended items of each user, best first: (n_users, K) distinct item rows, -1 after the last."""

_FAULTS = (
    "",
    "must contain rows of the {n_items} items, or -1 after the last; got {item}",
    "must have -1 only after its last item; got item {item} after a -1",
    "must contain an item at most once; got item {item} twice",
    "must not contain an item that is excluded for its user; got item {item}",
)


def checked_lists(name: str, lists: NDArray[Any], n_items: int, barred: Lists | None = None) -> TopRows:
    """Return top-k lists as int32 in C order, or raise.

    Args:
        name: the lists' name in error messages.
        lists: (n_users, K) integers: item rows below ``n_items``, each at most once per user, and -1 after
            the last.
        n_items: size of the catalogue.
        barred: excluded items of each user; None for none.

    Raises:
        DataError: lists of the wrong shape or type, or the first entry that breaks a rule, with its user row
            and position.
    """
    if lists.ndim != 2 or lists.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be item rows, (n_users, k) integers; got {lists.dtype} of shape {lists.shape}. "
            "Pass one row of k item rows per user, with -1 after the last."
        )
    given = np.ascontiguousarray(lists)
    if given.size and (given.max() >= n_items or given.min() < -1):  # before int32 could wrap around
        user, place = (int(at) for at in np.argwhere((given >= n_items) | (given < -1))[0])
        fault = 1
    else:
        given = given.astype(np.int32, copy=False)
        chunks = chunk_count(len(given))
        found = np.zeros((chunks, 3), dtype=np.int64)
        _first_faults(given, *(Lists.empty(len(given)) if barred is None else barred).arrays, n_items, found)
        faulty = found[found[:, 0] > 0]
        if not faulty.size:
            return given
        fault, user, place = (int(at) for at in faulty[0])
    rule = _FAULTS[fault].format(n_items=n_items, item=given[user, place])
    raise DataError(f"{name} {rule} (user row {user}, position {place + 1}). Fix the ranker that made them.")


def checked_items(name: str, items: AnyLists, n_users: int) -> Lists:
    """Return the items of each user, or raise.

    Raises:
        DataError: pointers that do not match, a negative item row, or an item twice in a user's list.
    """
    lists = Lists.check(name, items, n_users)
    rows, user = lists.values, lists.owners()
    order = np.lexsort((rows, user))
    again = (np.diff(rows[order]) == 0) & (np.diff(user[order]) == 0)
    if again.any():
        first = order[int(np.argmax(again))]
        raise DataError(
            f"{name} must contain an item once per user; got item {rows[first]} twice for user row "
            f"{user[first]}. Remove duplicate pairs of user and item first."
        )
    return lists


def chunk_count(n_users: int) -> int:
    """Number of chunks of users for the threads: each needs a marker for every item."""
    return max(1, min(n_users, 4 * numba.get_num_threads()))


@njit(cache=True, nogil=True, parallel=True)
def _first_faults(lists, pointers, barred, n_items, found):  # type: ignore[no-untyped-def]
    """Write the first fault of each chunk of users, (fault, user, position), to ``found`` (chunks, 3)."""
    n_users, width = lists.shape
    chunks = found.shape[0]
    for c in prange(chunks):
        # Markers are per user: 2u + 1 is excluded, 2u + 2 is already in the list.
        marks = np.zeros(n_items, dtype=np.int64)
        for u in range(c * n_users // chunks, (c + 1) * n_users // chunks):
            for p in range(pointers[u], pointers[u + 1]):
                marks[barred[p]] = 2 * u + 1
            ended = False
            for place in range(width):
                i = lists[u, place]
                if i < 0:
                    ended = True
                    continue
                fault = 0
                if ended:
                    fault = 2
                elif marks[i] == 2 * u + 2:
                    fault = 3
                elif marks[i] == 2 * u + 1:
                    fault = 4
                if fault > 0:
                    found[c, 0], found[c, 1], found[c, 2] = fault, u, place
                    break
                marks[i] = 2 * u + 2
            if found[c, 0] > 0:
                break
