"""What a top-k list is, and the check that lists are such before anything is measured on them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from twotower.data.item_lists import ItemLists, check_lists, no_items
from twotower.errors import DataError

Lists = NDArray[np.int32]
"""The items each user is given, best first: (n_users, K) item rows, each once, -1 after a list's end."""

_FAULTS = (
    "",
    "must name rows of the {n_items} items, or -1 after the last; got {item}",
    "must have -1 only after its last item; got item {item} after a -1",
    "must hold an item once; got item {item} twice",
    "must not hold an item that is barred for its user; got item {item}",
)


def checked_lists(name: str, lists: NDArray[Any], n_items: int, barred: ItemLists | None = None) -> Lists:
    """Return top-k lists as int32 in C order, or refuse them.

    Parameters
    ----------
    name
        Whose lists, for the message.
    lists
        (n_users, K) integers: item rows below ``n_items``, each once a user, and -1 after the last.
    n_items
        Size of the catalogue.
    barred
        Items that each user must not have been given; None for none.

    Raises
    ------
    DataError
        Lists of another shape or kind, or the first entry that breaks a rule, with its user row and place.

    """
    if lists.ndim != 2 or lists.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be item rows, (n_users, k) integers; got {lists.dtype} of shape {lists.shape}. "
            "Give each user one row of k item rows, -1 after the last."
        )
    given = np.ascontiguousarray(lists)
    if given.size and (given.max() >= n_items or given.min() < -1):  # before int32 could wrap around
        user, place = (int(at) for at in np.argwhere((given >= n_items) | (given < -1))[0])
        fault = 1
    else:
        given = given.astype(np.int32, copy=False)
        chunks = chunk_count(len(given))
        found = np.zeros((chunks, 3), dtype=np.int64)
        _first_faults(given, *(no_items(len(given)) if barred is None else barred), n_items, found)
        faulty = found[found[:, 0] > 0]
        if not faulty.size:
            return given
        fault, user, place = (int(at) for at in faulty[0])
    rule = _FAULTS[fault].format(n_items=n_items, item=given[user, place])
    raise DataError(f"{name} {rule} (user row {user}, place {place + 1}). Mend the ranker that made them.")


def checked_items(name: str, items: ItemLists, n_users: int) -> ItemLists:
    """Return item lists (pointers (n_users + 1,) int64, items (n,) int32), or refuse them.

    Raises
    ------
    DataError
        Pointers that do not fit, a negative item row, or an item twice in a user's list.

    """
    pointers, rows = check_lists(name, items, n_users)
    user = np.repeat(np.arange(n_users), np.diff(pointers))
    order = np.lexsort((rows, user))
    again = (np.diff(rows[order]) == 0) & (np.diff(user[order]) == 0)
    if again.any():
        first = order[int(np.argmax(again))]
        raise DataError(
            f"{name} must hold an item once a user; got item {rows[first]} twice for user row {user[first]}. "
            "Take the distinct pairs of user and item first."
        )
    return pointers, rows


def chunk_count(n_users: int) -> int:
    """How many chunks of users to share among the threads: each needs a mark for every item."""
    return max(1, min(n_users, 4 * numba.get_num_threads()))


@njit(cache=True, nogil=True, parallel=True)
def _first_faults(lists, pointers, barred, n_items, found):  # type: ignore[no-untyped-def]
    """Write the first fault of each chunk of users, (fault, user, place), into ``found`` (chunks, 3)."""
    n_users, width = lists.shape
    chunks = found.shape[0]
    for c in prange(chunks):
        # A mark holds for one user: 2u + 1 is barred, 2u + 2 was given already.
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
