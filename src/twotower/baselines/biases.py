"""Mean + user bias + item bias: the additive baseline without user-item interactions.

    minimise  sum_n w_n (y_n - mean - b_u(n) - b_i(n))^2 + l_user sum_u b_u^2 + l_item sum_i b_i^2

jointly over the mean and all biases: a ridge regression on one-hot users and items with a free intercept
(Koren, Bell & Volinsky, "Matrix Factorization Techniques for Recommender Systems", 2009, equation 3). The
normal equations are solved directly: the biases of the larger side are eliminated, since its block is
diagonal, and conjugate gradients solve the remaining Schur complement in some tens of passes over the
distinct pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from twotower.baselines.baseline import Baseline, Examples, FloatArray, IntArray
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, TrainingError

GRID: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Strengths tried on the validation set, for users and items: the number of rows at which a bias is
shrunk by half. They cover the range that rating and watch-ratio data need."""
DEFAULT = 10.0
"""Both strengths if there is no validation set."""

_EXACT = 1e-10
"""Residual of the final solution, as a share of the right-hand side."""
_ROUGH = 1e-5
"""The same for solutions that are only compared on the validation set."""


class Biases(Baseline):
    """Predicts mean + user bias + item bias; an id without training rows has a bias of 0.

    If the two regularisation strengths are not given, they are the pair from `GRID` with the smallest squared
    error on the validation set, or `DEFAULT` without one.

    Attributes:
        user_strength, item_strength: the strengths used, after fitting.
        solution: the mean and the biases, after fitting.
    """

    name = "biases"
    given = "labels, ids"

    def __init__(self, user_strength: float | None = None, item_strength: float | None = None) -> None:
        super().__init__()
        for given in (user_strength, item_strength):
            if given is not None and not (np.isfinite(given) and given > 0):
                raise ConfigError(f"a regularisation strength must be above 0; got {given}. Try 10")
        self._given = (user_strength, item_strength)

    def _fit(self, train: Examples, validation: Examples | None, seed: int) -> None:
        del seed  # nothing random
        equations = self._equations(train)
        self.user_strength, self.item_strength = self._strengths(equations, validation)
        self.solution = equations.solve(self.user_strength, self.item_strength, tolerance=_EXACT)

    def _refit(self, everything: Examples, seed: int) -> None:
        del seed
        self.solution = self._equations(everything).solve(
            self.user_strength, self.item_strength, tolerance=_EXACT
        )

    def _equations(self, train: Examples) -> NormalEquations:
        """Collect the users and items of the training rows, and sum up the rows."""
        self.users, self.items = train.data.ids("user"), train.data.ids("item")
        return NormalEquations.of(*self._rows(train.data), train.label, train.weight)

    def _strengths(self, equations: NormalEquations, validation: Examples | None) -> tuple[float, float]:
        tried = (DEFAULT,) if validation is None else GRID
        of_users, of_items = (tried if given is None else (given,) for given in self._given)
        pairs = [(user, item) for user in of_users for item in of_items]
        if validation is None or len(pairs) == 1:
            return pairs[0]
        users, items = self._rows(validation.data)
        errors, solution = [], None
        for user_strength, item_strength in pairs:
            solution = equations.solve(user_strength, item_strength, tolerance=_ROUGH, start=solution)
            errors.append(np.square(solution.predict(users, items) - validation.label).mean())
        return pairs[int(np.argmin(errors))]

    def _predict(self, data: Dataset) -> FloatArray:
        return self.solution.predict(*self._rows(data))

    def _rows(self, data: Dataset) -> tuple[IntArray, IntArray]:
        return data.rows("user", Vocabulary(self.users)), data.rows("item", Vocabulary(self.items))


@dataclass(frozen=True)
class Solution:
    """The mean (the intercept, not the mean of the labels) and the biases (n_users,), (n_items,)."""

    mean: float
    user: FloatArray
    item: FloatArray

    def predict(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return (n,) predictions for rows of users and items (n,), -1 for an unknown one."""
        unknown = np.zeros(1)  # the last element, which index -1 selects
        prediction: FloatArray = (
            self.mean + np.append(self.user, unknown)[users] + np.append(self.item, unknown)[items]
        )
        return prediction


@dataclass(frozen=True)
class NormalEquations:
    """The sums over rows that the biases depend on, independent of the regularisation.

    Attributes:
        pairs: (n_users, n_items) weight of each distinct pair.
        user_weight, item_weight: (n_users,), (n_items,) weight of each one's rows.
        user_sum, item_sum: the same of weight times centred label.
        centre: the weighted mean of the labels, subtracted first so that the sums keep their precision.
    """

    pairs: csr_array
    user_weight: FloatArray
    item_weight: FloatArray
    user_sum: FloatArray
    item_sum: FloatArray
    centre: float

    @classmethod
    def of(cls, users: IntArray, items: IntArray, label: FloatArray, weight: FloatArray) -> NormalEquations:
        """Sum up n rows of user and item indices."""
        shape = (int(users.max()) + 1, int(items.max()) + 1)
        centre = float(np.average(label, weights=weight))
        centred = weight * (label - centre)
        return cls(
            csr_array((weight, (users, items)), shape=shape),  # sums the rows of a pair
            _sums(users, weight, shape[0]),
            _sums(items, weight, shape[1]),
            _sums(users, centred, shape[0]),
            _sums(items, centred, shape[1]),
            centre,
        )

    def solve(
        self,
        user_strength: float,
        item_strength: float,
        *,
        tolerance: float = _EXACT,
        start: Solution | None = None,
    ) -> Solution:
        """Return the minimiser, up to a residual of ``tolerance`` times the right-hand side.

        Args:
            user_strength, item_strength: L2 penalties, above 0, so that the minimiser is unique.
            tolerance: relative residual at which to stop.
            start: starting point, such as the solution for similar strengths.

        Raises:
            TrainingError: no convergence, which only values of very different magnitudes can cause.
        """
        user = (self.user_weight, self.user_sum, user_strength)
        item = (self.item_weight, self.item_sum, item_strength)
        users_stay = len(self.user_weight) <= len(self.item_weight)
        pairs = self.pairs if users_stay else self.pairs.T  # (n_stay, n_gone)
        (weight, label, strength), (gone_weight, gone_label, gone_strength) = (
            (user, item) if users_stay else (item, user)
        )
        diagonal = weight + strength  # (n_stay,)
        gone_diagonal = gone_weight + gone_strength  # (n_gone,)
        crossed = pairs.T  # (n_gone, n_stay)
        # The mean's coefficient after elimination, as a sum without cancellation.
        mean_weight = float((gone_weight * gone_strength / gone_diagonal).sum())

        def schur(z: FloatArray) -> FloatArray:  # (1 + n_stay,): the mean, then the remaining biases
            shared = crossed @ z[1:] / gone_diagonal  # (n_gone,)
            top = mean_weight * z[0] + weight @ z[1:] - gone_weight @ shared
            rest = diagonal * z[1:] + weight * z[0] - pairs @ (shared + gone_weight * (z[0] / gone_diagonal))
            return np.concatenate([[top], rest])

        follow = gone_label / gone_diagonal
        right = np.concatenate([[label.sum() - gone_weight @ follow], label - pairs @ follow])
        scale = np.concatenate([[mean_weight], diagonal])
        first = None
        if start is not None:
            first = np.concatenate([[start.mean - self.centre], start.user if users_stay else start.item])
        size = len(scale)
        z, failed = cg(
            LinearOperator((size, size), matvec=schur, dtype=np.float64),
            right,
            first,
            rtol=tolerance,
            maxiter=10_000,
            M=LinearOperator((size, size), matvec=lambda r: r / scale, dtype=np.float64),
        )
        if failed:
            raise TrainingError(
                f"the biases' normal equations did not converge in 10,000 steps (strengths {user_strength:g} "
                f"and {item_strength:g}); look for labels or weights of very different magnitudes"
            )
        gone = (gone_label - gone_weight * z[0] - crossed @ z[1:]) / gone_diagonal
        return Solution(self.centre + float(z[0]), *((z[1:], gone) if users_stay else (gone, z[1:])))


def _sums(codes: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum the values (n,) of each code: (size,)."""
    return np.bincount(codes, values, size).astype(np.float64, copy=False)
