"""Interactions by item, from interactions by user, out of core."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.core.atomic import replacing_folder
from twotower.core.columns import ColumnWriter, mapped, write_column

AT_ONCE: Final = 1 << 24
"""Entries that are in memory at once; the interactions are read once for each so many of them."""
_SIGN: Final = "indptr.npy"  # written last


def transposed(
    indptr: NDArray[np.int64],
    item: NDArray[np.int32],
    n_items: int,
    folder: Path,
    at_once: int = AT_ONCE,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Return pointers by item, the users of each item in ascending order, and where each entry came from.

    Reads all interactions ``n / at_once`` times in order, and writes in order. The files stay in ``folder``,
    and are taken from there if they are there.

    Args:
        indptr: int64 (n_users + 1,).
        item: int32 (n,), item rows by user.
        n_items: number of items.
        folder: for the result.
        at_once: entries that are in memory at once; an item with more is in memory as a whole.
    """
    if not (folder / _SIGN).exists():
        pointers = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=n_items))]).astype(np.int64)
        place = np.uint32 if len(item) <= np.iinfo(np.uint32).max else np.int64
        with replacing_folder(folder, _SIGN, "transpose") as temporary:
            with ExitStack() as files:
                columns = [
                    files.enter_context(ColumnWriter(temporary / f"{name}.npy", dtype, len(item)))
                    for name, dtype in (("user", np.int32), ("place", place))
                ]
                first = 0
                while first < n_items:
                    last = int(np.searchsorted(pointers, pointers[first] + at_once, side="right")) - 1
                    last = min(max(last, first + 1), n_items)
                    for column, values in zip(
                        columns, _of_items(indptr, item, pointers, first, last), strict=True
                    ):
                        column.append(values)
                    first = last
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
