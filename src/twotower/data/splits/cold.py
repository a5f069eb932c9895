"""Hold out items or users with all their rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import Codes, folds_of_ids, rows_of_some
from twotower.data.splits.split import HoldOut, Rows


class _Cold(HoldOut):
    """Holds out some of those that ``cold`` says, at random."""

    rows_in_order = False

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows of ``round(share * n)`` of the n items, or users."""
        return rows_of_some(self._ids(data), share, rng)

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal the items, or users, out to the folds, each with all its rows."""
        return folds_of_ids(self._ids(data), count, rng)

    def _ids(self, data: Dataset) -> pl.Series:
        schema = data.schema
        return data.interactions.get_column(schema.item if self.cold == "items" else schema.user)


class ColdItems(_Cold):
    """Holds out a share of the items with all their rows, at random."""

    name = "cold_items"
    summary = "a share of the items with all their rows"
    cold = "items"
    share_of = "items"


class ColdUsers(_Cold):
    """Holds out a share of the users with all their rows, at random."""

    name = "cold_users"
    summary = "a share of the users with all their rows"
    cold = "users"
    share_of = "users"
