"""BPR: matrix factorisation that ranks a user's items above random others.

    maximise  sum_(u,i,j) ln sigmoid(s_ui - s_uj) - regularization / 2 |parameters|^2,  s_ui = u . v_i + b_i

over users u, items i that u has and items j that u does not have, by stochastic gradient ascent (Rendle,
Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback", 2009,
section 4). The j are drawn uniformly, as in the paper. Drawing them by popularity, as some libraries do,
pushes popular items down: on the KuaiRec sample the model then ranked the catalogue worse than popularity.

With grades, a pair (u, i) is drawn in proportion to its grade, and j may be an item with a lower grade.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit

from twotower.baselines.feedback import Feedback
from twotower.baselines.ranking import VectorBaseline, above_zero
from twotower.baselines.search import Ladder, Setting
from twotower.errors import TrainingError

FACTORS = Ladder((16, 32, 64, 128, 256), start=2)
"""Dimensions that tuning may try; limited, as are the epochs, to about a minute per fit on 100,000 pairs."""
LEARNING_RATES = Ladder((0.005, 0.01, 0.02, 0.05, 0.1, 0.2), start=3)
"""Learning rates that tuning may try."""
REGULARIZATIONS = Ladder((0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.24), start=4)
"""Regularisation strengths that tuning may try."""
ITERATIONS = Ladder((8, 15, 30, 60, 120, 240, 480), start=3)
"""Epochs that tuning may try. What matters is roughly their number times the learning rate."""

_START = 0.1
"""Standard deviation of the initial vectors."""
_FASTMATH = {"contract", "reassoc", "nsz", "arcp"}  # allows reordering of dot products (SIMD); NaN stays NaN


class BPR(VectorBaseline):
    """Ranks by vectors learnt from pairs of an item that the user has and one that the user does not have.

    Training is single-threaded, so that the same seed gives the same bits.

    Attributes:
        factors: number of dimensions, without the component for the item bias.
        learning_rate: step size.
        regularization: L2 penalty on all vectors and biases.
        iterations: number of epochs, each with as many draws as there are pairs.
        power: exponent of the grades.
    """

    name = "BPR"
    quick = False

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.015,
        iterations: int = 200,
        power: float = 1.0,
    ) -> None:
        super().__init__(power)
        above_zero(self.name, factors=factors, learning_rate=learning_rate)
        above_zero(self.name, regularization=regularization, iterations=iterations)
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.iterations = iterations

    def own_settings(self) -> dict[str, Setting]:
        """Return factors, learning rate, regularization and iterations."""
        return {
            "factors": self.factors,
            "learning_rate": self.learning_rate,
            "regularization": self.regularization,
            "iterations": self.iterations,
        }

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search ranges of epochs, regularisation, learning rate and factors."""
        return {
            "iterations": ITERATIONS,
            "regularization": REGULARIZATIONS,
            "learning_rate": LEARNING_RATES,
            "factors": FACTORS.up_to(min(feedback.matrix.shape)),
        }

    def _fit(self, feedback: Feedback, seed: int) -> None:
        matrix, rng = feedback.matrix, np.random.default_rng(seed)
        n_users, n_items = matrix.shape
        grade_of = (matrix.data / matrix.data.max()).astype(np.float32)
        users = _START * rng.standard_normal((n_users, self.factors), dtype=np.float32)
        items = _START * rng.standard_normal((n_items, self.factors), dtype=np.float32)
        bias = np.zeros(n_items, dtype=np.float32)
        for _ in range(self.iterations):
            learn_epoch(
                np.repeat(np.arange(n_users), np.diff(matrix.indptr)),
                matrix.indices,
                grade_of,
                matrix.indptr,
                users,
                items,
                bias,
                np.float32(self.learning_rate),
                np.float32(self.regularization),
                rng,
            )
        self.user_vectors = np.column_stack([users, np.ones(n_users, dtype=np.float32)])
        self.item_vectors = np.column_stack([items, bias])
        if not (np.isfinite(self.user_vectors).all() and np.isfinite(self.item_vectors).all()):
            raise TrainingError(
                "the vectors of BPR must be finite and are not; lower the learning rate "
                f"({self.learning_rate})"
            )


@njit(cache=True, fastmath=_FASTMATH)
def learn_epoch(  # type: ignore[no-untyped-def]
    user_of, item_of, grade_of, indptr, users, items, bias, learning_rate, regularization, rng
):
    """Run one epoch in place: as many draws and steps as there are pairs.

    Args:
        user_of, item_of: (n,) rows of each pair, sorted by user, then item.
        grade_of: float32 (n,) the share of the draws of each pair that count, in [0, 1].
        indptr: (n_users + 1,) start of each user's pairs.
        users, items: float32 (n_users, dim), (n_items, dim).
        bias: float32 (n_items,).
        learning_rate, regularization: float32.
        rng: NumPy generator. A draw whose item the user has, with the same grade or a higher one, is skipped.
    """
    n, n_items, width = len(item_of), len(items), users.shape[1]
    one = np.float32(1)
    for _ in range(n):
        # Half the time of `rng.integers`; 53 bits are uniform enough for so few values.
        pair, other = int(rng.random() * n), int(rng.random() * n_items)
        user, item, grade = user_of[pair], item_of[pair], grade_of[pair]
        if grade < one and rng.random() >= grade:
            continue
        place = _place(item_of, indptr[user], indptr[user + 1], other)
        if place >= 0 and grade_of[place] >= grade:
            continue
        above = bias[item] - bias[other]
        for w in range(width):
            above += users[user, w] * (items[item, w] - items[other, w])
        slope = learning_rate / (one + np.exp(above))  # slope of ln sigmoid times the rate
        shrink = learning_rate * regularization
        for w in range(width):
            u, v, o = users[user, w], items[item, w], items[other, w]
            users[user, w] += slope * (v - o) - shrink * u
            items[item, w] += slope * u - shrink * v
            items[other, w] -= slope * u + shrink * o
        bias[item] += slope - shrink * bias[item]
        bias[other] -= slope + shrink * bias[other]


@njit(cache=True)
def _place(item_of, first, last, item):  # type: ignore[no-untyped-def]
    """Return the position of ``item`` in the sorted ``item_of[first:last]``, or -1."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if item_of[middle] < item:
            first = middle + 1
        else:
            last = middle
    return first if first < end and item_of[first] == item else -1
