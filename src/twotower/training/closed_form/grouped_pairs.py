"""The training pairs grouped by user and by item, and the reliability of each user's labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs

SHRINK = 10.0
"""Number of pairs at which a user's own residuals count as much as the overall ones."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupedPairs:
    """The training pairs grouped by user and by item, with labels and weights of mean 1.

    If all weights are 0, every pair has weight 1.
    """

    users: Pairs
    items: Pairs

    @classmethod
    def of(cls, pairs: Pairs, n_items: int, mean: float) -> GroupedPairs:
        """Group the training pairs, with the constant of all scores subtracted from the labels."""
        given = np.ones(len(pairs), np.float32)
        if pairs.weight is not None and pairs.weight.any():
            given = (pairs.weight / pairs.weight.mean(dtype=np.float64)).astype(np.float32)
        users = replace(pairs, label=pairs.label - np.float32(mean), weight=given)
        return cls(users, users.by_item(n_items))

    def by_user(self, values: NDArray[np.floating]) -> F64:
        """Return each user's weighted sum of values (n,) over the user's pairs."""
        assert self.users.weight is not None
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

    def weighted(self, grouped: GroupedPairs) -> dict[str, Pairs]:
        """Return the grouped pairs with weights multiplied by the users' reliability."""
        each, users, items = self.of_users.astype(np.float32), grouped.users, grouped.items
        return {"users": users.scaled(each[users.user]), "items": items.scaled(each[items.item])}
