"""Pairs of user and item as sorted distinct keys, ``user * n_items + item``, and as lists of items.

So excluding seen items, or items that are not candidates, is one search in a sorted array.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import Vocabulary

IntArray = NDArray[np.int64]


def keys_of_rows(pairs: pl.DataFrame, users: pl.Series, items: pl.Series) -> tuple[IntArray, IntArray]:
    """Return the keys of pairs, ascending, and their column ``row``; unknown users or items are left out."""
    user, item = (
        Vocabulary(users).rows(pairs.get_column("user")),
        Vocabulary(items).rows(pairs.get_column("item")),
    )
    known = (user >= 0) & (item >= 0)
    rows = pairs.get_column("row").to_numpy().astype(np.int64)[known]
    coded = pl.DataFrame({"key": user[known] * len(items) + item[known], "row": rows}).sort("key")
    return coded.get_column("key").to_numpy(), coded.get_column("row").to_numpy()


def distinct_keys(pairs: pl.DataFrame, users: pl.Series, items: pl.Series) -> IntArray:
    """Return the distinct keys of pairs, ascending; unknown users or items are left out."""
    keys, _ = keys_of_rows(pairs.with_columns(pl.lit(0).alias("row")), users, items)
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def among(keys: IntArray, others: IntArray) -> NDArray[np.bool_]:
    """Return which of the keys are in the others; both ascending."""
    if not len(others):
        return np.zeros(len(keys), dtype=np.bool_)
    place = np.minimum(np.searchsorted(others, keys), len(others) - 1)
    found: NDArray[np.bool_] = others[place] == keys
    return found


def kept_of(kept: NDArray[np.bool_], *arrays: IntArray) -> tuple[IntArray, ...]:
    """Return each array (n,) filtered by the mask (n,)."""
    return tuple(array[kept] for array in arrays)


def lists_of(keys: IntArray, asked: IntArray, n_items: int) -> Lists:
    """Return the items of some users (rows, ascending) from sorted keys of more users."""
    user, item = np.divmod(keys, n_items)
    place = np.full(int(max(user.max(initial=0), asked.max())) + 1, -1, dtype=np.int64)
    place[asked] = np.arange(len(asked))
    row = place[user]
    counts = np.bincount(row[row >= 0], minlength=len(asked))
    return Lists.from_lengths(counts, item[row >= 0].astype(np.int32))


def complement(lists: Lists, n_items: int) -> Lists:
    """Return, for each user, all items that are not in the list; ascending, as the lists must be."""
    counts = n_items - lists.lengths
    rest = Lists.from_lengths(counts, np.empty(counts.sum(), dtype=np.int32))
    _fill_complement(*lists.arrays, n_items, *rest.arrays)
    return rest


@njit(cache=True, nogil=True)
def _fill_complement(pointers, items, n_items, others, rest):  # type: ignore[no-untyped-def]
    for u in range(pointers.size - 1):
        p, place = pointers[u], others[u]
        for i in range(n_items):
            if p < pointers[u + 1] and items[p] == i:
                p += 1
            else:
                rest[place] = i
                place += 1
