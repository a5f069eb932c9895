"""Pairs of user and item as keys, ``user * n_items + item``: sorted, their items are lists.

So excluding seen items, or items that are not candidates, is one search in a sorted array.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from twotower.core.lists import Lists, cuts
from twotower.core.vocabulary import Vocabulary

IntArray = NDArray[np.int64]


def keys_of(pairs: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> IntArray:
    """Return the key of each pair (n,) of columns ``user`` and ``item``; -1 if either id is unknown."""
    user, item = users.rows(pairs.get_column("user")), items.rows(pairs.get_column("item"))
    return np.where((user < 0) | (item < 0), -1, user * len(items) + item)


def distinct_keys(pairs: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> IntArray:
    """Return the distinct keys of pairs of known ids, ascending."""
    keys = np.sort(keys_of(pairs, users, items))  # several times quicker than np.unique
    return keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)] & (keys >= 0)]


def among(keys: IntArray, others: IntArray) -> NDArray[np.bool_]:
    """Return which of the keys are in the others; both ascending."""
    if not len(others):
        return np.zeros(len(keys), dtype=np.bool_)
    place = np.minimum(np.searchsorted(others, keys), len(others) - 1)
    found: NDArray[np.bool_] = others[place] == keys
    return found


def within(keys: IntArray, lists: Lists, n_items: int) -> NDArray[np.bool_]:
    """Return which of the keys, ascending, are pairs of a list and one of its items, which ascend too."""
    found = np.zeros(len(keys), dtype=np.bool_)
    for first, last in cuts(lists.indptr):
        part = slice(*np.searchsorted(keys, [first * n_items, last * n_items]))
        own = lists.between(first, last)
        found[part] = among(keys[part], (own.owners() + first) * n_items + own.values)
    return found


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
