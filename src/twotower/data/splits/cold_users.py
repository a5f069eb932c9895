"""Hold out users with all their rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import Codes, folds_of_ids, rows_of_some
from twotower.data.splits.split import HoldOut, Rows


class ColdUsers(HoldOut):
    """Holds out a share of the users with all their rows, at random."""

    name = "cold_users"
    summary = "a share of the users with all their rows"
    cold = "users"
    share_of = "users"
    rows_in_order = False

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows of ``round(share * n_users)`` users."""
        return rows_of_some(data.interactions.get_column(data.schema.user), share, rng)

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal the users out to the folds, each with all its rows."""
        return folds_of_ids(data.interactions.get_column(data.schema.user), count, rng)
