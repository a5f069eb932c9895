"""Hold out a share of each user's rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import dealt, draw, users_of
from twotower.data.splits.row_source import Codes, RowSource
from twotower.data.splits.split import Rows
from twotower.data.splits.streamed import StreamedHoldOut


class PerUser(StreamedHoldOut):
    """Holds out a share of each user's rows, at random; at least one row of each user stays in training."""

    name = "per_user"
    summary = "a share of each user's rows, at random; at least one row stays in training"
    warm = "users"

    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose of a user with n rows the floor or the ceiling of ``share * n``, at most n - 1.

        By systematic rounding: ``share * n`` on average over seeds, and the total is exact to one row.
        Rounding each user separately would hold out nothing of users with few rows.
        """
        sizes = rows.sizes("user")  # (n_users,)
        edges = np.floor(np.cumsum(sizes * share) + rng.random()).astype(np.int64)
        wanted = np.minimum(np.diff(edges, prepend=0), np.maximum(sizes - 1, 0))  # (n_users,)
        return draw(
            lambda: (codes for (codes,) in rows.blocks("user")), sizes, wanted, rows.span("user"), rng
        )

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> Codes:
        """Deal the rows out to the folds user by user, so that those of each are spread evenly."""
        order = rng.permutation(len(data))
        return dealt(order[np.argsort(users_of(data)[order], kind="stable")], count)
