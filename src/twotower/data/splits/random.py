"""Hold out a share of the rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import dealt, some
from twotower.data.splits.row_source import Codes, RowSource
from twotower.data.splits.split import Rows
from twotower.data.splits.streamed import StreamedHoldOut


class Random(StreamedHoldOut):
    """Holds out a share of the rows, at random."""

    name = "random"
    summary = "a share of the rows"

    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose ``round(share * n)`` rows."""
        return some(len(rows), share, rng)

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal all rows out to the folds."""
        return dealt(rng.permutation(len(data)), count)
