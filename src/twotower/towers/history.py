"""`History`: what users did before, as a tower reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from twotower.core.reprs import ShortRepr
from twotower.kernels.pairs import Pairs

if TYPE_CHECKING:
    from twotower.towers.arrays import SideArrays


@dataclass(frozen=True, repr=False)
class History(ShortRepr):
    """What each of n rows did, ascending in time: row ``r`` has the entries ``indptr[r]:indptr[r + 1]``.

    Attributes:
        indptr: int64 (n + 1,).
        items: int64 (m,), the row of each item in ``catalogue``.
        grades: float32 (m,), what each counts: 1 for a positive without a label; with labels see
            `twotower.targets.target.history_grades`.
        times: float64 (m,), seconds since 1970-01-01 UTC.
        catalogue: the encoded items, warm and cold, that ``items`` are rows of.
        prepared: what `Tower.prepared` gave for the catalogue; None if nothing is prepared.
    """

    indptr: torch.Tensor
    items: torch.Tensor
    grades: torch.Tensor
    times: torch.Tensor
    catalogue: SideArrays
    prepared: tuple[torch.Tensor, ...] | None = None

    @classmethod
    def of(
        cls, past: Pairs, catalogue: SideArrays, prepared: tuple[torch.Tensor, ...] | None = None
    ) -> History:
        """Return pairs with times, on the device of the items; their labels are grades."""
        assert past.time is not None
        columns = (past.indptr, past.item.astype(np.int64), past.label, past.time)
        device = catalogue.warm.device
        indptr, items, grades, times = (torch.from_numpy(column).to(device) for column in columns)
        return cls(indptr, items, grades, times, catalogue, prepared)

    def last(self, n: int) -> History:
        """Return the last n entries of each row, or all of a row that has fewer."""
        length = self.indptr.diff()
        if not len(length) or int(length.max()) <= n:
            return self
        start = self.indptr[1:] - length.clamp(max=n)
        return self._spans(start, length.clamp(max=n))

    def take(self, rows: torch.Tensor) -> History:
        """Return the histories of rows, int64 (m,); -1 has an empty one."""
        start = self.indptr[rows]
        return self._spans(start, (self.indptr[rows + 1] - start).clamp(min=0))  # -1 ends before it starts

    def _spans(self, start: torch.Tensor, length: torch.Tensor) -> History:
        indptr = torch.cat([length.new_zeros(1), length.cumsum(0)])
        at = torch.arange(int(indptr[-1]), device=start.device)
        at += (start - indptr[:-1]).repeat_interleave(length)
        return replace(
            self, indptr=indptr, items=self.items[at], grades=self.grades[at], times=self.times[at]
        )
