"""RP3beta: random walks of three steps from a user, with less weight on popular items.

    W_ij = sum_v P_iv^alpha P_vj^alpha / n_j^beta,    s_uj = sum_i x_ui W_ij

where x_ui is 1 for an observed pair, else 0; P_iv = x_vi / sum_v x_vi is the probability of a step from item
i to user v, P_vj = x_vj / sum_j x_vj that of a step from user v to item j, and n_j the number of users of j
(Paudel, Christoffel, Newell & Bernstein, "Updatable, Accurate, Diverse, and Scalable Recommendations for
Interactive Applications", 2017; alpha is from Cooper, Lee, Radinsky & Siu, "Random Walks in Recommender
Systems", 2014). Each item of the history keeps only the items with the highest weights, as in Ferrari
Dacrema, Cremonesi & Jannach, "Are We Really Making Much Progress?", 2019. With grades, x_ui is the grade, and
n_j the sum of the grades.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.feedback import Feedback, blocks
from twotower.baselines.item_knn import ItemKNN
from twotower.baselines.order import top_mask
from twotower.baselines.ranking import ScoreBaseline, above_zero, at_least_zero
from twotower.baselines.search import Ladder, Setting

ALPHAS = Ladder((0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0), start=4)
"""Values of ``alpha`` that tuning may try."""
BETAS = Ladder((0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0), start=4, closed=(True, False))
"""Values of ``beta`` that tuning may try."""


class RP3beta(ScoreBaseline):
    """Ranks by the probability that a random walk from the user's items ends at an item, by its popularity.

    Attributes:
        neighbours: how many weights each item of the history keeps, at least 1.
        alpha: exponent of the probabilities, above 0.
        beta: exponent of the popularity, at least 0.
        weights: sparse (n_items, n_items), after fitting: W, from the user's item (row) to a candidate; an
            item has no weight for itself.
        power: exponent of the grades.
    """

    name = "RP3beta"

    def __init__(
        self, neighbours: int = 100, alpha: float = 1.0, beta: float = 0.4, power: float = 1.0
    ) -> None:
        super().__init__(power)
        above_zero(self.name, neighbours=neighbours, alpha=alpha)
        at_least_zero(self.name, beta=beta)
        self.neighbours, self.alpha, self.beta = neighbours, alpha, beta

    def own_settings(self) -> dict[str, Setting]:
        """Return neighbours, alpha and beta."""
        return {"neighbours": self.neighbours, "alpha": self.alpha, "beta": self.beta}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search ranges of all settings."""
        return {
            "beta": BETAS,
            "alpha": ALPHAS,
            "neighbours": ItemKNN.ladders(feedback)["neighbours"],
        }

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        to_item = _probabilities(feedback.matrix, self.alpha)  # (n_users, n_items)
        to_user = _probabilities(feedback.matrix.T.tocsr(), self.alpha)  # (n_items, n_users)
        to_item = to_item @ diags_array(feedback.popularity**-self.beta)
        n_items, kept = len(feedback.items), []
        for rows in blocks(n_items, n_items):
            weights = (to_user[rows] @ to_item).toarray()  # (block, n_items)
            weights[weights == 0] = -np.inf
            block = np.arange(len(weights))
            weights[block, rows.start + block] = -np.inf
            top = top_mask(weights, self.neighbours)
            kept.append(csr_array((weights[top], np.nonzero(top)), shape=weights.shape))
        self.weights = csr_array(vstack(kept, format="csr"))

    def _scores(self, users: IntArray) -> FloatArray:
        assert self.feedback is not None  # checked by `rank`
        scores: FloatArray = (self.feedback.matrix[users] @ self.weights).toarray()
        return scores


def _probabilities(matrix: csr_array, alpha: float) -> csr_array:
    """Return the entries divided by the sum of their row, to a power."""
    total = np.asarray(matrix.sum(axis=1), dtype=np.float64)
    scaled = csr_array(diags_array(1 / total) @ matrix)
    scaled.data **= alpha
    return scaled
