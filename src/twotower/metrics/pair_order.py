"""Rows in the order that counts concordant pairs, sorted once for all slices.

Only the order of the labels and predictions matters, so both are first converted to dense ranks. The rows are
then sorted by label ascending and, within a label, by prediction descending. The order of a subset is that of
all rows with the others omitted, so slices share the sorting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.metrics.checks import FloatArray, IntArray

Ranks = NDArray[np.integer[Any]]  # int32, or int64 beyond 2^31 rows
Flags = NDArray[np.uint8]  # one bit per slice


@dataclass(frozen=True)
class Ranking:
    """A column's values as ranks.

    Attributes:
        rank: (n,) dense rank of each row, from 0; equal values have equal ranks.
        size: number of distinct values.
    """

    rank: Ranks
    size: int


@dataclass(frozen=True)
class PairOrder:
    """Rows sorted by label ascending, then prediction descending.

    Attributes:
        row: (n,) at each position the original row, or the target (such as the user) that its counts are
            added to.
        label, prediction: (n,) ranks at each position; equal values have equal ranks.
    """

    row: Ranks
    label: Ranks
    prediction: Ranks

    def within(self, flags: Flags, bit: int) -> PairOrder:
        """Drop the positions where this bit of ``flags`` (n,) is not set."""
        return PairOrder(*_kept(self.row, self.label, self.prediction, flags, bit))

    def by_user(self, code: Ranks, n_users: int) -> PairOrder:
        """Sort the rows by user, then as here; ``code`` (n,) is the user of each row, from 0."""
        place = _places(take(code, self.row), n_users)
        return PairOrder(_put(self.row, place), _put(self.label, place), _put(self.prediction, place))

    def summed_by(self, target: Ranks) -> PairOrder:
        """Add the counts of each row to ``target[row]``, such as its user."""
        return replace(self, row=take(target, self.row))


def rank_values(values: FloatArray) -> Ranking:
    """Rank values (n,). It is a sort, so it is done once for the labels of all models of a table."""
    order = _sorted_rows(values)
    rank, size = _dense_ranks(take(values, order), order)
    return Ranking(_put(rank, order), size)


def order_pairs(label: Ranking, prediction: FloatArray) -> PairOrder:
    """Sort rows (n,) by label ascending, then prediction descending."""
    order = _sorted_rows(prediction)
    rank, _ = _dense_ranks(take(prediction, order), order)
    order, rank = order[::-1].copy(), rank[::-1].copy()
    key = take(label.rank, order)
    place = _places(key, label.size)
    return PairOrder(_put(order, place), _put(key, place), _put(rank, place))


# The loops below do one thing each, in more passes than necessary: the processor only prefetches memory while
# # no store in the loop could have changed it.


def _sorted_rows(values: FloatArray) -> Ranks:
    """Return rows (n,) by value ascending: `numpy.argsort`, in a third of the time.

    Sorting numbers is several times faster than an argsort, so the row number is packed into the value: it
    replaces the low bits of the value, which is encoded so that bits sort like values. The few values that
    agree in all other bits and are in the wrong order are sorted afterwards.
    """
    row_bits = values.size.bit_length()
    keys = _keys(np.ascontiguousarray(values).view(np.int64), row_bits)
    keys.sort()
    # 32 bits where they are enough for a row number: the work is memory-bound.
    index: type[np.integer[Any]] = np.int32 if values.size < np.iinfo(np.int32).max else np.int64
    order = (keys & np.uint64((1 << row_bits) - 1)).astype(index)
    there, high = take(values, order), keys >> np.uint64(row_bits)
    if (there[1:] < there[:-1]).any():
        alike = high[1:] == high[:-1]
        some = np.flatnonzero(np.append(alike, False) | np.append(False, alike))
        order[some] = order[some][np.lexsort((there[some], high[some]))]
    return order


@njit(cache=True, nogil=True)
def _keys(bits: IntArray, row_bits: int) -> NDArray[np.uint64]:
    """Return the high bits of float64 ``bits`` (n,), made monotonic in the value, above the row number."""
    keys = np.empty(bits.size, dtype=np.uint64)
    for row in range(bits.size):
        # Flip all bits of a negative number, since it falls as they rise, and only the sign of a positive
        # one, # so that it sorts above. The arithmetic right shift copies the sign to all bits.
        ascending = np.uint64(bits[row] ^ ((bits[row] >> 63) | np.int64(-(2**63))))
        keys[row] = ((ascending >> row_bits) << row_bits) | np.uint64(row)
    return keys


@njit(cache=True, nogil=True)
def _dense_ranks(sorted_values: FloatArray, like: Ranks) -> tuple[Ranks, int]:
    """Dense ranks (n,) from 0 of sorted values, of the type of ``like``, and their number."""
    rank = np.empty(sorted_values.size, dtype=like.dtype)
    current = 0
    for i in range(rank.size):
        if i and sorted_values[i] != sorted_values[i - 1]:
            current += 1
        rank[i] = current
    return rank, current + 1


@njit(cache=True, nogil=True)
def take(values: NDArray[Any], rows: Ranks) -> NDArray[Any]:
    """``values[rows]``."""
    taken = np.empty(rows.size, dtype=values.dtype)
    for i in range(rows.size):
        taken[i] = values[rows[i]]
    return taken


@njit(cache=True, nogil=True)
def _put(values: Ranks, places: Ranks) -> Ranks:
    """Return the array (n,) with ``values`` (n,) at ``places`` (n,), a permutation."""
    out = np.empty_like(values)
    for i in range(places.size):
        out[places[i]] = values[i]
    return out


@njit(cache=True, nogil=True)
def _places(keys: Ranks, n_keys: int) -> Ranks:
    """Return the position of each row (n,) in a stable sort by key in [0, n_keys)."""
    start = np.zeros(n_keys + 1, dtype=keys.dtype)
    for key in keys:
        start[key + 1] += 1
    for key in range(n_keys):
        start[key + 1] += start[key]
    places = np.empty_like(keys)
    for i in range(keys.size):
        place = start[keys[i]]
        places[i] = place
        start[keys[i]] = place + 1
    return places


@njit(cache=True, nogil=True)
def _kept(row: Ranks, label: Ranks, prediction: Ranks, flags: Flags, bit: int) -> tuple[Ranks, Ranks, Ranks]:
    """Return the three columns (n,) of an order at the positions whose bit is set."""
    size = 0
    for flag in flags:
        size += (flag >> bit) & 1
    # One extra position: each row is written, and overwritten by the next if it is not kept; no branch.
    kept_row, kept_label = np.empty(size + 1, dtype=row.dtype), np.empty(size + 1, dtype=row.dtype)
    kept_prediction = np.empty(size + 1, dtype=row.dtype)
    out = 0
    for place in range(row.size):
        kept_row[out] = row[place]
        kept_label[out] = label[place]
        kept_prediction[out] = prediction[place]
        out += (flags[place] >> bit) & 1
    return kept_row[:size], kept_label[:size], kept_prediction[:size]
