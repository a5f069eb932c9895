"""Hold out a share of the rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import Codes, dealt, some
from twotower.data.splits.split import HoldOut, Rows


class Random(HoldOut):
    """Holds out a share of the rows, at random."""

    name = "random"
    summary = "a share of the rows"

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose ``round(share * n)`` rows."""
        return some(len(data), share, rng)

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal all rows out to the folds."""
        return dealt(rng.permutation(len(data)), count)
