"""`StreamedHoldOut`: a hold-out that reads its rows in blocks, so it works on those in memory and on disk."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.row_source import DatasetRows, RowSource
from twotower.data.splits.split import HoldOut, Rows


class StreamedHoldOut(HoldOut):
    """Chooses rows to hold out from blocks of them: the same ones however large the blocks are."""

    @abstractmethod
    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows to hold out, as `HoldOut.hold_out`, in at most some 10 bytes a row."""

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose rows of a dataset; see `held`."""
        return self.held(DatasetRows(data), share, rng)
