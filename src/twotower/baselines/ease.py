"""EASE: a linear model from a user's items to all items, solved in closed form.

    minimise  |X - X B|^2 + l2 |B|^2   with a diagonal of B of 0,

where X is the user-item matrix, with grades if there are any. With P the inverse of X'X + l2 I,
B_ij = -P_ij / P_jj off the diagonal (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019,
equation 8).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.feedback import Feedback
from twotower.baselines.ranking import ScoreBaseline, above_zero
from twotower.baselines.search import Ladder, Setting
from twotower.core.wording import count_of
from twotower.errors import DataError, TrainingError
from twotower.kernels.zero_diagonal import zero_diagonal_ridge

L2 = Ladder(tuple(0.15625 * 2.0 ** (step / 2) for step in range(35)), start=20, strides=(2, 1))
"""Values of ``l2`` that tuning may try, in factors of 1.4 from 0.16 to 20,480; it starts at 160."""
MEMORY_SHARE = 0.5
"""Share of the machine's memory that the item-item matrix may take; there is one copy of it."""
MOST_ITEMS = 40_000
"""Maximum number of items regardless of memory; a fit then takes 64 TFLOP, and tuning about ten fits."""
SINGLE_FROM = 8_192
"""Number of items from which the matrix is float32, which halves time and memory."""


class EASE(ScoreBaseline):
    """Ranks by a linear model of the user's items.

    Attributes:
        l2: regularisation strength, above 0. It acts like this many extra users per item who have only that
            item.
        power: exponent of the grades.
        weights: (n_items, n_items), after fitting: B, from the user's item (row) to a candidate; float64, or
            float32 from `SINGLE_FROM` items on.
    """

    name = "EASE"
    featured = True

    def __init__(self, l2: float = 350.0, power: float = 1.0) -> None:
        super().__init__(power)
        above_zero(self.name, l2=l2)
        self.l2 = l2

    def own_settings(self) -> dict[str, Setting]:
        """Return the regularisation."""
        return {"l2": self.l2}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search range of the regularisation."""
        del feedback  # the same range for all data
        return {"l2": L2}

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        n_items = len(feedback.items)
        dtype = np.dtype(np.float32 if n_items >= SINGLE_FROM else np.float64)
        most = min(MOST_ITEMS, int((MEMORY_SHARE * memory() / dtype.itemsize) ** 0.5))
        if n_items > most:
            raise DataError(
                "EASE needs an item-item matrix in half of the memory: at most "
                f"{count_of(most, 'item')} here; the training set has {n_items:,} "
                f"({1e-9 * dtype.itemsize * n_items**2:,.3g} GB). Remove rare items, use a machine with more "
                "memory, or choose another baseline"
            )
        gram = np.empty((n_items, n_items), dtype=dtype)
        for rows, overlap in feedback.overlaps():
            gram[rows] = overlap
        gram[np.diag_indices(n_items)] += self.l2
        try:
            self.weights = zero_diagonal_ridge(gram)
        except np.linalg.LinAlgError:
            raise TrainingError(
                "could not solve EASE's normal equations; raise l2 to improve their conditioning"
            ) from None

    def _scores(self, users: IntArray) -> FloatArray:
        assert self.feedback is not None  # checked by `rank`
        known = self.feedback.matrix[users].astype(self.weights.dtype)
        return np.asarray(known @ self.weights, dtype=np.float64)


def memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
