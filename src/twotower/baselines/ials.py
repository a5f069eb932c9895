"""iALS: matrix factorisation of all pairs, those that happened weighing more.

    minimise  sum_ui c_ui (x_ui - u . v)^2 + regularization (sum_u |u|^2 + sum_i |v|^2)

over all users and items, x_ui being 1 for a pair that happened, else 0, and c_ui being alpha or 1 (Hu, Koren
& Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008, equation 3). What it is worth
depends on weight and regularisation being searched together (Rendle, Krichene, Zhang & Koren, "Revisiting
the Performance of iALS on Item Recommendation Benchmarks", 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from twotower.baselines._implicit import als_vectors
from twotower.baselines.positives import Positives
from twotower.baselines.ranking import Setting, VectorBaseline, above_zero

FACTORS = (64, 128)
"""Dims of the grid."""
ALPHAS = (3.0, 10.0, 30.0)
"""Weights of the grid."""
STRENGTHS = (0.25, 0.45, 0.8)
"""Regularisations of the grid, in units of `noise`, since the best plain number grows with the data."""


class IALS(VectorBaseline):
    """Ranks by vectors from weighted alternating least squares.

    The users' vectors are solved for last: each is the minimiser given the items' vectors.

    Attributes:
        factors: dim.
        alpha: weight of a pair that happened.
        regularization: L2 of all vectors.
        iterations: how often both sides are solved for.
    """

    name = "iALS"

    def __init__(
        self, factors: int = 64, alpha: float = 10.0, regularization: float = 10.0, iterations: int = 15
    ) -> None:
        above_zero(
            self.name, factors=factors, alpha=alpha, regularization=regularization, iterations=iterations
        )
        self.factors = factors
        self.alpha = alpha
        self.regularization = regularization
        self.iterations = iterations

    def settings(self) -> dict[str, Setting]:
        """Return factors, alpha, regularization and iterations."""
        return {
            "factors": self.factors,
            "alpha": self.alpha,
            "regularization": self.regularization,
            "iterations": self.iterations,
        }

    @classmethod
    def candidates(cls, positives: Positives) -> Sequence[Self]:
        """Return all combinations of `FACTORS`, `ALPHAS` and `STRENGTHS`."""
        return [
            cls(factors, alpha, strength * noise(positives, alpha))
            for factors in FACTORS
            for alpha in ALPHAS
            for strength in STRENGTHS
        ]

    def _fit(self, positives: Positives, seed: int) -> None:
        self.user_vectors, self.item_vectors = als_vectors(
            positives.matrix,
            factors=self.factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            seed=seed,
        )


def noise(positives: Positives, alpha: float) -> float:
    """Return about the largest singular value that chance alone gives to the pairs, each weighing alpha.

    A penalty r (|U|^2 + |V|^2) takes r off each singular value of U V', so r has to be of the size of what is
    to be taken off. For n independent pairs of n_users and n_items that is sqrt(n / n_users) + sqrt(n /
    n_items), times alpha (the edge of Marchenko & Pastur's law, 1967).
    """
    n = positives.matrix.nnz
    return float(alpha * (np.sqrt(n / len(positives.users)) + np.sqrt(n / len(positives.items))))
