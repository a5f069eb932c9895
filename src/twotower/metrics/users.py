"""Rows grouped by user: computed once, shared by all metrics, models and slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twotower.metrics.checks import IntArray, int_column


@dataclass(frozen=True)
class UserGroups:
    """The user of each row.

    Attributes:
        ids: (n_users,) distinct users, ascending.
        code: (n,) position of each row's user in ``ids``.
    """

    ids: IntArray
    code: IntArray

    @property
    def n_users(self) -> int:
        """Number of distinct users."""
        return int(self.ids.size)


def group_users(user: ArrayLike, rows: int | None = None) -> UserGroups:
    """Group rows (n,) by integer user ids or indices; ``rows``, if given, is the required n.

    Ids are sorted whatever the order of the rows, so a bootstrap draws the same users for a permuted table.
    """
    ids = int_column("user", user, rows)
    low, high = int(ids.min()), int(ids.max())
    if high - low > 4 * ids.size + 1024:
        distinct, code = np.unique(ids, return_inverse=True)
        return UserGroups(distinct, code.astype(np.int64, copy=False))
    # Dense ids, the common case, need no sort: a lookup table of the range is enough.
    offset = ids - low
    present = np.zeros(high - low + 1, dtype=np.bool_)
    present[offset] = True
    code_of = np.cumsum(present) - 1
    return UserGroups(np.flatnonzero(present) + low, code_of[offset])
