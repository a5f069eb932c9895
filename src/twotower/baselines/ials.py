"""iALS: matrix factorisation of all pairs, those that happened weighing more.

    minimise  sum_ui c_ui (x_ui - u . v)^2 + regularization (sum_u |u|^2 + sum_i |v|^2)

over all users and items, x_ui being 1 for a pair that happened, else 0. The confidence c_ui is 1 where
nothing happened, else alpha, times the grade to a power where there are grades (Hu, Koren & Volinsky,
"Collaborative Filtering for Implicit Feedback Datasets", 2008, equation 3). What it is worth depends on
weight and regularisation being searched together (Rendle, Krichene, Zhang & Koren, "Revisiting the
Performance of iALS on Item Recommendation Benchmarks", 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from twotower.baselines._implicit import als_vectors
from twotower.baselines.feedback import Feedback
from twotower.baselines.ranking import VectorBaseline, above_zero
from twotower.baselines.search import Ladder, Point, Setting

FACTORS = Ladder((16, 32, 64, 128, 256, 512, 1024), start=2)
"""Dims that a search may try."""
ALPHAS = Ladder((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0), start=3)
"""Weights that a search may try."""
STRENGTHS = Ladder((0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.7, 1.1, 1.7), start=5)
"""Regularisations that a search may try, in units of `noise`: the best plain number grows with the data."""


class IALS(VectorBaseline):
    """Ranks by vectors from weighted alternating least squares.

    The users' vectors are solved for last: each is the minimiser given the items' vectors.

    Attributes:
        factors: dim.
        alpha: weight of a pair that happened, of grade 1.
        regularization: L2 of all vectors.
        iterations: how often both sides are solved for.
        power: exponent of the grades.
    """

    name = "iALS"

    def __init__(
        self,
        factors: int = 64,
        alpha: float = 10.0,
        regularization: float = 10.0,
        iterations: int = 15,
        power: float = 1.0,
    ) -> None:
        super().__init__(power)
        above_zero(
            self.name, factors=factors, alpha=alpha, regularization=regularization, iterations=iterations
        )
        self.factors = factors
        self.alpha = alpha
        self.regularization = regularization
        self.iterations = iterations

    def own_settings(self) -> dict[str, Setting]:
        """Return factors, alpha, regularization and iterations."""
        return {
            "factors": self.factors,
            "alpha": self.alpha,
            "regularization": self.regularization,
            "iterations": self.iterations,
        }

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return those of weight, strength (the regularisation in units of `noise`) and dim."""
        del feedback  # the same for all data
        return {"alpha": ALPHAS, "strength": STRENGTHS, "factors": FACTORS}

    @classmethod
    def made(cls, point: Point, feedback: Feedback) -> Self:
        """Return the baseline of a point of the ladders."""
        rest = {name: value for name, value in point.items() if name != "strength"}
        raised = feedback.raised(point.get("power", 1.0))
        return cls(**rest, regularization=float(point["strength"]) * noise(raised, float(point["alpha"])))

    def _fit(self, feedback: Feedback, seed: int) -> None:
        self.user_vectors, self.item_vectors = als_vectors(
            feedback.matrix,
            factors=self.factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            seed=seed,
        )


def noise(feedback: Feedback, alpha: float) -> float:
    """Return about the largest singular value that chance alone gives to the pairs, each weighing alpha.

    A penalty r (|U|^2 + |V|^2) takes r off each singular value of U V', so r has to be of the size of what is
    to be taken off. For n independent pairs of n_users and n_items that is sqrt(n / n_users) + sqrt(n /
    n_items), times alpha (the edge of Marchenko & Pastur's law, 1967). With grades, n is the sum of their
    squares.
    """
    n = np.square(feedback.matrix.data).sum()
    return float(alpha * (np.sqrt(n / len(feedback.users)) + np.sqrt(n / len(feedback.items))))
