"""`History`: what users did before, as a tower reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from twotower.kernels.pairs import Pairs


@dataclass(frozen=True)
class History:
    """What each of n rows did, ascending in time: row ``r`` has the entries ``indptr[r]:indptr[r + 1]``.

    Attributes:
        indptr: int64 (n + 1,).
        items: int64 (m,), the warm row of each item: its row of the item tower's id table.
        labels: float32 (m,), in the label's own units; 1 each without labels.
        times: float64 (m,), seconds since 1970-01-01 UTC.
    """

    indptr: torch.Tensor
    items: torch.Tensor
    labels: torch.Tensor
    times: torch.Tensor

    @classmethod
    def of(cls, past: Pairs, device: torch.device) -> History:
        """Return pairs with times on a device."""
        assert past.time is not None
        columns = (past.indptr, past.item.astype(np.int64), past.label, past.time)
        return cls(*(torch.from_numpy(column).to(device) for column in columns))

    def take(self, rows: torch.Tensor) -> History:
        """Return the histories of rows, int64 (m,); -1 has an empty one."""
        start = self.indptr[rows]
        length = (self.indptr[rows + 1] - start).clamp(min=0)  # -1 ends before it starts
        indptr = torch.cat([length.new_zeros(1), length.cumsum(0)])
        at = torch.arange(int(indptr[-1]), device=rows.device) + (start - indptr[:-1]).repeat_interleave(
            length
        )
        return History(indptr, self.items[at], self.labels[at], self.times[at])
