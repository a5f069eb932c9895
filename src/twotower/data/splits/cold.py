"""Hold out items or users with all their rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import folds_of_ids, rows_of_some
from twotower.data.splits.row_source import Codes, RowSource
from twotower.data.splits.split import Rows
from twotower.data.splits.streamed import StreamedHoldOut


class _Cold(StreamedHoldOut):
    """Holds out some of those that ``cold`` says, at random."""

    rows_in_order = False

    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows of ``round(share * n)`` of the n items, or users."""
        return rows_of_some(rows, "item" if self.cold == "items" else "user", share, rng)

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal the items, or users, out to the folds, each with all its rows."""
        schema = data.schema
        ids = data.interactions.get_column(schema.item if self.cold == "items" else schema.user)
        return folds_of_ids(ids, count, rng)


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
