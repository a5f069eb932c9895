"""`GrowingVocabulary`: ids to rows in the order in which the ids are first seen, batch by batch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

_FIRST: Final = 1 << 16
"""Ids that there is room for at the beginning."""
_SEEDS: Final = (1, 2)
_MAX: Final = np.iinfo(np.int32).max


class TypesDiffer(ValueError):
    """Ids of two batches have different types."""


class GrowingVocabulary:
    """Distinct ids, each with the row that it got when it was first seen.

    A hash table of whole numbers. Text is known by two hashes of 64 bits, so two of a billion ids are taken
    for one with a probability of 1e-21. Takes about 25 bytes an id, and the text.

    >>> known = GrowingVocabulary()
    >>> known.rows(pl.Series(["b", "a", "b"])).tolist(), known.rows(pl.Series(["c", "a"])).tolist()
    ([0, 1, 0], [2, 1])
    >>> known.ids.to_list()
    ['b', 'a', 'c']
    """

    def __init__(self) -> None:
        self.dtype: pl.DataType | None = None
        self._count = 0
        self._slots = np.full(4 * _FIRST, -1, dtype=np.int32)
        self._keys = np.empty(_FIRST, dtype=np.uint64)
        self._checks = np.empty(_FIRST, dtype=np.uint64)
        self._text: list[pl.Series] = []

    def __len__(self) -> int:
        return self._count

    def rows(self, ids: pl.Series) -> NDArray[np.int32]:
        """Return the row of each of m ids without nulls, int32 (m,); new ids get the next rows.

        Raises:
            TypesDiffer: the ids before had another type.
        """
        if self.dtype is None:
            self.dtype = ids.dtype
        if ids.dtype != self.dtype:
            raise TypesDiffer(f"{self.dtype} and {ids.dtype}")
        if self.dtype == pl.String:
            keys, checks = (ids.hash(seed).to_numpy() for seed in _SEEDS)
        else:
            keys = ids.cast(pl.Int64).to_numpy().view(np.uint64)
            checks = np.zeros(1, dtype=np.uint64)
        self._make_room(len(ids))
        rows, fresh = np.empty(len(ids), dtype=np.int32), np.empty(len(ids), dtype=np.int64)
        before = self._count
        self._count = _rows_of(
            keys, checks, self.dtype == pl.String, self._slots, self._keys, self._checks, before, rows, fresh
        )
        if self.dtype == pl.String and self._count > before:
            self._text.append(ids.gather(fresh[: self._count - before]))
        return rows

    @property
    def ids(self) -> pl.Series:
        """The distinct ids in the order of their rows."""
        if self.dtype == pl.String:
            return pl.concat(self._text) if self._text else pl.Series([], dtype=pl.String)
        return pl.Series(self._keys[: self._count].view(np.int64)).cast(self.dtype or pl.Int64)

    def _make_room(self, more: int) -> None:
        needed = self._count + more
        if needed > _MAX:  # pragma: no cover - 2^31 distinct ids
            raise OverflowError("a store can have at most 2^31 distinct ids of users and of items")
        if needed <= len(self._keys):
            return
        room = max(2 * len(self._keys), 1 << (needed - 1).bit_length())
        for name in ("_keys", "_checks"):
            larger = np.empty(room, dtype=np.uint64)
            larger[: self._count] = getattr(self, name)[: self._count]
            setattr(self, name, larger)
        self._slots = np.full(2 * room, -1, dtype=np.int32)
        _fill(self._slots, self._keys, self._count)


@njit(cache=True)
def _slot(key, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the first slot to look at (splitmix64's mixing)."""
    mixed = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) & mask


@njit(cache=True)
def _fill(slots, keys, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    mask, one = np.uint64(len(slots) - 1), np.uint64(1)
    for row in range(count):
        at = _slot(keys[row], mask)
        while slots[at] >= 0:
            at = (at + one) & mask
        slots[at] = row


@njit(cache=True)
def _rows_of(  # pragma: no cover
    asked: NDArray[np.uint64],
    asked_checks: NDArray[np.uint64],
    checked: bool,
    slots: NDArray[np.int32],
    keys: NDArray[np.uint64],
    checks: NDArray[np.uint64],
    count: int,
    rows: NDArray[np.int32],
    fresh: NDArray[np.int64],
) -> Any:
    """Look the keys up, add those that are new, write where they are in ``fresh``; return the new count."""
    mask, one = np.uint64(len(slots) - 1), np.uint64(1)
    before = count
    for i in range(len(asked)):
        key = asked[i]
        check = asked_checks[i] if checked else np.uint64(0)
        at = _slot(key, mask)
        while True:
            row = slots[at]
            if row < 0:
                slots[at] = count
                keys[count] = key
                checks[count] = check
                fresh[count - before] = i
                rows[i] = count
                count += 1
                break
            if keys[row] == key and (not checked or checks[row] == check):
                rows[i] = row
                break
            at = (at + one) & mask
    return count
