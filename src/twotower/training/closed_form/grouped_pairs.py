"""The training pairs grouped by user and by item, and the reliability of each user's labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.training.stored_pairs import StoredPairs

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
        users = centred(pairs, mean)
        return cls(users, users.by_item(n_items))

    def by_user(self, values: Iterable[NDArray[np.floating]] | None = None) -> F64:
        """Return each user's weighted sum of values over the user's pairs, (n_users,).

        Args:
            values: (m,) of each part of the training pairs (`Pairs.parts`); None for 1 each.
        """
        sums = np.zeros(self.users.n_users)
        ones = (np.ones(len(part), np.float32) for _, part in self.users.parts())
        for (first, part), of in zip(self.users.parts(), ones if values is None else values, strict=True):
            assert part.weight is not None
            weighted = np.multiply(part.weight, of, dtype=np.float64)
            start = part.indptr[:-1]
            some = np.diff(part.indptr) > 0
            if some.any():
                sums[first : first + len(start)][some] = np.add.reduceat(weighted, start[some])
        return sums

    def squares(self, pairs: Pairs, U: F32, V: F32) -> F64:
        """Return each user's weighted sum of squared residuals, (n_users,).

        Args:
            pairs: the training pairs with the labels as they are.
            U, V: float32 (n_users, d) and (n_items, d), whose dot products are the scores.
        """
        return self.by_user(
            np.square(score_pairs(U[first:], V, part.user, part.item) - part.label, dtype=np.float64)
            for first, part in pairs.parts()
        )


def centred(pairs: Pairs, mean: float) -> Pairs:
    """Return pairs with a constant subtracted from the labels, and weights of mean 1."""
    if isinstance(pairs, StoredPairs):
        return pairs.normalised(mean)
    weight = np.ones(len(pairs), np.float32)
    if pairs.weight is not None and pairs.weight.any():
        weight = (pairs.weight / pairs.weight.mean(dtype=np.float64)).astype(np.float32)
    return replace(pairs, label=pairs.label - np.float32(mean), weight=weight)


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
    def of(cls, summed: F64, counted: F64) -> Reliability:
        """Estimate it from each user's weighted sum of squared residuals, and sum of weights, (n_users,)."""
        everyone = float(summed.sum() / counted.sum())
        # a user's variance is never taken to be 0
        variance = np.maximum((summed + SHRINK * everyone) / (counted + SHRINK), 1e-12)
        of_users = 1.0 / variance
        of_users *= counted.sum() / (of_users @ counted)
        return cls(of_users, float(of_users @ summed / counted.sum()))

    def weighted(self, grouped: GroupedPairs) -> dict[str, Pairs]:
        """Return the grouped pairs with weights multiplied by the users' reliability."""
        each = self.of_users.astype(np.float32)
        return {"users": grouped.users.rescaled(users=each), "items": grouped.items.rescaled(items=each)}
