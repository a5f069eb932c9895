"""The train pairs grouped by each side, and how reliable each user's labels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.training.batches import TrainPairs

SHRINK = 10.0
"""Pairs at which a user's own residuals count as much as everyone's for the reliability."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Rows(NamedTuple):
    """The pairs grouped by one side: ``indptr`` (n + 1,), then of each pair the other row, label, weight."""

    indptr: NDArray[np.int64]
    other: NDArray[np.int32]
    label: F32
    weight: F32


@dataclass(frozen=True, eq=False)
class GroupedPairs:
    """The train pairs grouped by users and by items, with labels and with weights of 1 on average.

    Weights that are all 0 say nothing, and each pair counts 1.
    """

    users: Rows
    items: Rows

    @classmethod
    def of(cls, pairs: TrainPairs, mean: float) -> GroupedPairs:
        """Group the train pairs, from their labels the constant of all scores taken off."""
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
        """Return the weighted sum of values (n,) over each user's pairs."""
        weighted = np.multiply(self.users.weight, values, dtype=np.float64)
        start = self.users.indptr[:-1]
        some = np.diff(self.users.indptr) > 0
        sums = np.zeros(len(start))
        if some.any():
            sums[some] = np.add.reduceat(weighted, start[some])
        return sums


@dataclass(frozen=True, eq=False)
class Reliability:
    """How noisy labels are: users differ in that, in watch ratios more than in stars.

    Attributes:
        of_users: float64 (n_users,), one over the variance of a user's residuals, drawn towards everyone's,
            and then 1 on average over the weighted pairs.
        noise: variance of a residual where that is 1.
    """

    of_users: F64
    noise: float

    @classmethod
    def of(cls, grouped: GroupedPairs, residual: F32) -> Reliability:
        """Judge it by the residuals (n,) of the train pairs."""
        summed = grouped.by_user(np.square(residual, dtype=np.float64))
        counted = grouped.by_user(np.ones(len(residual), np.float32))
        everyone = float(summed.sum() / counted.sum())
        # no residual of a user is believed to be nothing
        variance = np.maximum((summed + SHRINK * everyone) / (counted + SHRINK), 1e-12)
        of_users = 1.0 / variance
        of_users *= counted.sum() / (of_users @ counted)
        return cls(of_users, float(of_users @ summed / counted.sum()))

    def weighted(self, grouped: GroupedPairs) -> dict[str, Rows]:
        """Return the grouped pairs with their weights times their users' reliability."""
        each = self.of_users.astype(np.float32)
        users, items = grouped.users, grouped.items
        return {
            "users": users._replace(weight=users.weight * np.repeat(each, np.diff(users.indptr))),
            "items": items._replace(weight=items.weight * each[items.other]),
        }
