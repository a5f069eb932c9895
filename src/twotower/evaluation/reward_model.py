"""`RewardModel`: a simple prediction of rewards, for the doubly robust estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]

FOLDS = 5
"""Groups of users; a user's rewards are predicted from those of the other groups."""
_PRIOR = 10.0
"""Rows at the mean that an item's own mean is shrunk by."""
_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class RewardModel:
    """Predicts a reward as ``level + slope * score + item``, in which an item's own part is shrunk towards 0.

    Attributes:
        level: reward at score 0 of an item without rows.
        slope: reward per unit of score.
        items: own part of each item (n_items,).
    """

    level: float
    slope: float
    items: F64

    @classmethod
    def fit(cls, score: F64, item: Rows, reward: F64, n_items: int) -> RewardModel:
        """Fit by alternating least squares: score and level, then items as ridge regression.

        Args:
            score: of the model (n,), finite.
            item: row of each item (n,); -1 for one that the model doesn't know, which has no part of its own.
            reward: (n,).
            n_items: size of the catalogue.
        """
        items, known = np.zeros(n_items), item >= 0
        count = np.bincount(item[known], minlength=n_items)
        level = slope = 0.0
        if not len(reward):
            return cls(level, slope, items)
        centre = score - score.mean()
        spread = float(centre @ centre)
        for _ in range(_ROUNDS):
            rest = reward - np.where(known, items[item], 0.0)
            slope = float(centre @ rest) / spread if spread > 0.0 else 0.0
            level = float(rest.mean() - slope * score.mean())
            error = np.bincount(item[known], (reward - level - slope * score)[known], minlength=n_items)
            items = error / (count + _PRIOR)
        return cls(level, slope, items)

    def predict(self, score: F64, item: Rows) -> F64:
        """Return the rewards (n,) of pairs."""
        own = np.where(item >= 0, self.items[item], 0.0) if len(self.items) else 0.0
        return np.asarray(self.level + self.slope * score + own)

    def expected(self, probability: F64, scores: F64) -> F64:
        """Return the expected reward (n_users,) of a policy.

        Args:
            probability: of showing each item (n_users, n_items), rows that sum to 1 or 0.
            scores: (n_users, n_items), -inf for what is no candidate.
        """
        shown = (probability * np.where(probability > 0.0, scores, 0.0)).sum(axis=1)
        return np.asarray(
            self.level * probability.sum(axis=1) + self.slope * shown + probability @ self.items
        )


def folds_of(n_users: int, seed: int) -> Rows:
    """Return the group of each user, of `FOLDS` of about the same size (fewer than two users: all in one)."""
    return np.random.default_rng(seed).permutation(n_users) % min(FOLDS, max(n_users, 1))
