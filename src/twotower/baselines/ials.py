"""iALS: matrix factorisation of all pairs, with more weight on the observed ones.

    minimise  sum_ui c_ui (x_ui - u . v)^2 + regularization (sum_u |u|^2 + sum_i |v|^2)

over all users and items, where x_ui is 1 for an observed pair, else 0. The confidence c_ui is 1 for an
unobserved pair, else alpha, times a power of the grade if there are grades (Hu, Koren & Volinsky,
"Collaborative Filtering for Implicit Feedback Datasets", 2008, equation 3). Its quality depends on tuning
weight and regularisation together (Rendle, Krichene, Zhang & Koren, "Revisiting the Performance of iALS on
Item Recommendation Benchmarks", 2022).
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
"""Dimensions that tuning may try, up to the rank that the data can have."""
ALPHAS = Ladder((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0), start=3)
"""Weights that tuning may try."""
STRENGTHS = Ladder((0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.7, 1.1, 1.7), start=5)
"""Regularisation strengths that tuning may try, in units of `noise`: the best value grows with the data."""


class IALS(VectorBaseline):
    """Ranks by vectors from weighted alternating least squares.

    The users' vectors are solved last: each is the minimiser given the items' vectors.

    Attributes:
        factors: number of dimensions.
        alpha: weight of an observed pair with grade 1.
        regularization: L2 penalty on all vectors.
        iterations: number of times both sides are solved.
        power: exponent of the grades.
    """

    name = "iALS"
    quick = False

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
        """Return the search ranges of weight, strength (regularisation in units of `noise`) and factors."""
        return {"alpha": ALPHAS, "strength": STRENGTHS, "factors": FACTORS.up_to(min(feedback.matrix.shape))}

    @classmethod
    def made(cls, point: Point, feedback: Feedback) -> Self:
        """Return the baseline with the given values."""
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
    """Return roughly the largest singular value of random pairs, each with weight alpha.

    A penalty r (|U|^2 + |V|^2) shrinks each singular value of U V' by r, so r should be of the size of the
    noise's singular values. For n independent pairs of n_users and n_items that is sqrt(n / n_users) + sqrt(n
    / n_items), times alpha (the edge of Marchenko & Pastur's law, 1967). With grades, n is the sum of their
    squares.
    """
    n = np.square(feedback.matrix.data).sum()
    return float(alpha * (np.sqrt(n / len(feedback.users)) + np.sqrt(n / len(feedback.items))))
