"""The training pairs grouped by user and by item, and the reliability of each user's labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.training.batches import TrainPairs

SHRINK = 10.0
"""Number of pairs at which a user's own residuals count as much as the overall ones."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Rows(NamedTuple):
    """The pairs grouped by one side: ``indptr`` (n + 1,), then each pair's other row, label and weight."""

    indptr: NDArray[np.int64]
    other: NDArray[np.int32]
    label: F32
    weight: F32


@dataclass(frozen=True, eq=False)
class GroupedPairs:
    """The training pairs grouped by user and by item, with labels and weights of mean 1.

    If all weights are 0, every pair has weight 1.
    """

    users: Rows
    items: Rows

    @classmethod
    def of(cls, pairs: TrainPairs, mean: float) -> GroupedPairs:
        """Group the training pairs, with the constant of all scores subtracted from the labels."""
        indptr = np.searchsorted(pairs.user, np.arange(pairs.n_users + 1))
        label = pairs.target - np.float32(mean)
        given = np.ones(len(pairs), np.float32)
        if pairs.weight is not None and pairs.weight.any():
            given = (pairs.weight / pairs.weight.mean(dtype=np.float64)).astype(np.float32)
        shape = (pairs.n_users, pairs.n_items)
        place = np.arange(len(pairs), dtype=np.int32 if len(pairs) < 2**31 else np.int64)
        by_item = csr_array((place, pairs.item, indptr), shape=shape).tocsc()  # a counting sort
        order = by_item.data
        return cls(
            Rows(indptr, pairs.item, label, given),
            Rows(by_item.indptr.astype(np.int64), pairs.user[order], label[order], given[order]),
        )

    def by_user(self, values: NDArray[np.floating]) -> F64:
        """Return each user's weighted sum of values (n,) over the user's pairs."""
        weighted = np.multiply(self.users.weight, values, dtype=np.float64)
        start = self.users.indptr[:-1]
        some = np.diff(self.users.indptr) > 0
        sums = np.zeros(len(start))
        if some.any():
            sums[some] = np.add.reduceat(weighted, start[some])
        return sums


@dataclass(frozen=True, eq=False)
class Reliability:
    """Reliability of labels: their noise differs between users, more for watch ratios than for stars.

    Attributes:
        of_users: float64 (n_users,), inverse variance of a user's residuals, shrunk to the overall one and
            scaled to 1 on average over the weighted pairs.
        noise: variance of a residual where the reliability is 1.
    """

    of_users: F64
    noise: float

    @classmethod
    def of(cls, grouped: GroupedPairs, residual: F32) -> Reliability:
        """Estimate it from the residuals (n,) of the training pairs."""
        summed = grouped.by_user(np.square(residual, dtype=np.float64))
        counted = grouped.by_user(np.ones(len(residual), np.float32))
        everyone = float(summed.sum() / counted.sum())
        # a user's variance is never taken to be 0
        variance = np.maximum((summed + SHRINK * everyone) / (counted + SHRINK), 1e-12)
        of_users = 1.0 / variance
        of_users *= counted.sum() / (of_users @ counted)
        return cls(of_users, float(of_users @ summed / counted.sum()))

    def weighted(self, grouped: GroupedPairs) -> dict[str, Rows]:
        """Return the grouped pairs with weights multiplied by the users' reliability."""
        each = self.of_users.astype(np.float32)
        users, items = grouped.users, grouped.items
        return {
            "users": users._replace(weight=users.weight * np.repeat(each, np.diff(users.indptr))),
            "items": items._replace(weight=items.weight * each[items.other]),
        }
