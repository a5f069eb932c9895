"""The rows of a spill as a split method sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.splits.row_source import Codes, Role, RowSource, dense
from twotower.data.store.spill import TRAIN, Spill


class SortedIds:
    """The ids of a vocabulary in ascending order.

    Attributes:
        ids: (n,) in ascending order.
        place: int32 (n,), the place of each row of the vocabulary among them.
    """

    def __init__(self, ids: pl.Series) -> None:
        order = ids.arg_sort().to_numpy()
        self.ids = ids.gather(order)
        self.place = np.empty(len(ids), dtype=np.int32)
        self.place[order] = np.arange(len(ids), dtype=np.int32)


class SpilledRows(RowSource):
    """The training rows of a spill; codes are places among the sorted ids."""

    def __init__(self, spill: Spill, users: SortedIds, items: SortedIds) -> None:
        self._spill = spill
        self._ids = {"user": users, "item": items}
        self._rows = spill.counts(TRAIN)

    def __len__(self) -> int:
        return self._rows

    def blocks(self, *roles: Role) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield the columns block by block."""
        for columns in self._spill.rows_of(TRAIN, *roles):
            yield tuple(
                seconds(values) if role == "time" else self._ids[role].place[values]
                for role, values in zip(roles, columns, strict=True)
            )

    def sizes(self, role: Literal["user", "item"]) -> Codes:
        """Count them."""
        place = self._ids[role].place
        sizes = np.empty(len(place), dtype=np.int64)
        sizes[place] = self._spill.per_id(TRAIN, role, len(place))
        return sizes

    def span(self, role: Literal["user", "item"]) -> int:
        """Return the number of ids that have rows, or for dense whole numbers the size of their range."""
        present = np.flatnonzero(self.sizes(role))
        ids = self._ids[role].ids
        if ids.dtype.is_integer() and len(present):
            low, high = int(ids[int(present[0])]), int(ids[int(present[-1])])
            if dense(low, high, len(self)):
                return high - low + 1
        return len(present)

    def hold_out(self, held: NDArray[np.bool_], part: int) -> None:
        """Move the rows held out, of (n,), to another set."""
        sets, at = self._spill.part, 0
        for first in range(0, self._spill.rows, self._spill.block):
            mine = np.flatnonzero(sets[first : first + self._spill.block] == TRAIN)
            sets[first + mine[held[at : at + len(mine)]]] = part
            at += len(mine)


def seconds(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return stored times as float64."""
    return values.astype(np.float64, copy=False)
