"""Interactions by item, from interactions by user, out of core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.core.atomic import replacing_folder
from twotower.core.columns import ColumnWriter, mapped, spans, write_column
from twotower.core.lists import cuts

AT_ONCE: Final = 1 << 24
"""Entries that are in memory at once; the interactions are read once for each so many of them."""
_SIGN: Final = "indptr.npy"  # written last


def item_pointers(item: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """Return where each item's entries begin and end in the transpose, int64 (n_items + 1,)."""
    pointers = np.zeros(n_items + 1, np.int64)
    for part in spans(len(item)):
        pointers[1:] += np.bincount(item[part], minlength=n_items)
    return np.cumsum(pointers)


def entries_by_item(
    indptr: NDArray[np.int64], item: NDArray[np.int32], pointers: NDArray[np.int64], at_once: int = AT_ONCE
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Yield the entries of the transpose in parts: the user of each, and where it is in ``item``.

    Items ascend, and so do the users of an item. Reads all interactions ``n / at_once`` times, in order.

    Args:
        indptr: int64 (n_users + 1,).
        item: int32 (n,), item rows by user.
        pointers: `item_pointers`.
        at_once: entries of a part; an item with more is one.
    """
    for first, last in cuts(pointers, at_once):
        yield _of_items(indptr, item, pointers, first, last)


def transposed(
    indptr: NDArray[np.int64], item: NDArray[np.int32], n_items: int, folder: Path, at_once: int = AT_ONCE
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Return pointers by item, the users of each item in ascending order, and where each entry came from.

    The files stay in ``folder``, and are taken from there if they are there.

    Args:
        indptr, item, at_once: as for `entries_by_item`.
        n_items: number of items.
        folder: for the result.
    """
    if not (folder / _SIGN).exists():
        pointers = item_pointers(item, n_items)
        place_type = np.uint32 if len(item) <= np.iinfo(np.uint32).max else np.int64
        with replacing_folder(folder, _SIGN, "transpose") as temporary:
            with (
                ColumnWriter(temporary / "user.npy", np.int32, len(item)) as users,
                ColumnWriter(temporary / "place.npy", place_type, len(item)) as places,
            ):
                for user, place in entries_by_item(indptr, item, pointers, at_once):
                    users.append(user)
                    places.append(place)
            write_column(temporary / _SIGN, pointers)
    found = [mapped(folder / f"{name}.npy") for name in ("indptr", "user", "place")]
    return found[0], found[1], found[2]


@njit(cache=True)
def _of_items(indptr, item, pointers, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return user and place of each entry of the items from ``first`` up to ``last``."""
    start = pointers[first]
    free = pointers[first:last] - start
    user = np.empty(pointers[last] - start, np.int32)
    place = np.empty(len(user), np.int64)
    for u in range(len(indptr) - 1):
        for p in range(indptr[u], indptr[u + 1]):
            i = item[p]
            if first <= i < last:
                at = free[i - first]
                user[at] = u
                place[at] = p
                free[i - first] = at + 1
    return user, place
