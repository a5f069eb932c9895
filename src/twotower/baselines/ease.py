"""EASE: a linear model from a user's items to all items, solved in closed form.

    minimise  |X - X B|^2 + l2 |B|^2   with a diagonal of B of 0,

X being the users' items. With P the inverse of X'X + l2 I, B_ij = -P_ij / P_jj off the diagonal (Steck,
"Embarrassingly Shallow Autoencoders for Sparse Data", 2019, equation 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.linalg import lapack

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.positives import Positives
from twotower.baselines.ranking import ScoreBaseline, Setting, above_zero
from twotower.errors import DataError, TrainingError

GRID = (10.0, 25.0, 60.0, 150.0, 350.0, 850.0, 2000.0)
"""Values of ``l2`` that are tried, in steps of about 2.4."""
MOST_ITEMS = 40_000
"""Most items with train rows. Their matrix is held once, in float64: 12.8 GB at this number."""


class EASE(ScoreBaseline):
    """Ranks by a linear model of the user's items.

    Attributes:
        l2: strength of the regularisation, above 0. It counts like so many more users for each item, who have
            that item alone.
        weights: float64 (n_items, n_items), once fitted: B, from the user's item (row) to a candidate.
    """

    name = "EASE"

    def __init__(self, l2: float = 350.0) -> None:
        above_zero(self.name, l2=l2)
        self.l2 = l2

    def settings(self) -> dict[str, Setting]:
        """Return the regularisation."""
        return {"l2": self.l2}

    @classmethod
    def candidates(cls, positives: Positives) -> Sequence[Self]:
        """Return one for each value of `GRID`."""
        del positives  # one grid for all data
        return [cls(l2) for l2 in GRID]

    def _fit(self, positives: Positives, seed: int) -> None:
        del seed  # nothing random
        n_items = len(positives.items)
        if n_items > MOST_ITEMS:
            raise DataError(
                f"EASE holds a matrix of items by items and takes at most {MOST_ITEMS:,} items, train has "
                f"{n_items:,} ({8e-9 * n_items**2:,.0f} GB); leave rare items out, or compare with another "
                "baseline"
            )
        gram = np.empty((n_items, n_items))
        for rows, overlap in positives.overlaps():
            gram[rows] = overlap
        gram[np.diag_indices(n_items)] += self.l2
        self.weights = _weights(gram)

    def _scores(self, users: IntArray) -> FloatArray:
        assert self.positives is not None  # checked by `rank`
        scores: FloatArray = self.positives.matrix[users] @ self.weights
        return scores


def _weights(gram: FloatArray) -> FloatArray:
    """Return B (n, n) for a positive definite ``gram`` (n, n), in whose memory it is made."""
    # LAPACK wants columns beside each other, which the transposed view of a symmetric matrix has, uncopied.
    factor, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    inverse, failed_too = (factor, failed) if failed else lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise TrainingError(
            "EASE's normal equations could not be solved; raise l2, which makes them better conditioned"
        )
    weights: FloatArray = inverse.T  # rows beside each other; its upper triangle is filled
    for row in range(1, len(weights)):
        weights[row, :row] = weights[:row, row]
    weights /= -weights.diagonal().copy()
    np.fill_diagonal(weights, 0.0)
    return weights
