"""Mean, user bias and item bias: the additive model that any interaction between user and item has to beat.

    minimise  sum_n w_n (y_n - mean - b_u(n) - b_i(n))^2 + l_user sum_u b_u^2 + l_item sum_i b_i^2

over the mean and all biases at once: a ridge regression on one-hot users and items with a free intercept
(Koren, Bell & Volinsky, "Matrix Factorization Techniques for Recommender Systems", 2009, equation 3). The
normal equations are solved, not descended: the biases of the larger side are eliminated, since its block is
diagonal, and conjugate gradients solve the Schur complement that is left, in some tens of passes over the
distinct pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from twotower.baselines.baseline import Baseline, Examples, FloatArray, IntArray, rows_of
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, TrainingError

GRID: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Strengths tried on the validation part, for users and items. A strength is the number of rows at which a
bias is shrunk by half, so these span what data sets of ratings and of watch ratios need."""
DEFAULT = 10.0
"""Strength of both without a validation part."""

_EXACT = 1e-10
"""Residual of the solution that is kept, as a share of the right-hand side."""
_ROUGH = 1e-5
"""The same of those that are only compared on the validation part."""


class Biases(Baseline):
    """Predicts mean + user bias + item bias; an id without train rows has a bias of 0.

    The two strengths of the regularisation, if they are not given, are the pair of `GRID` with the least
    squared error on the validation part, or `DEFAULT` without one.

    Attributes:
        user_strength, item_strength: those used, once fitted.
        solution: the mean and the biases, once fitted.
    """

    name = "biases"
    given = "labels, ids"

    def __init__(self, user_strength: float | None = None, item_strength: float | None = None) -> None:
        super().__init__()
        for given in (user_strength, item_strength):
            if given is not None and not (np.isfinite(given) and given > 0):
                raise ConfigError(
                    f"a regularisation strength must be above 0, got {given}; 10 is a good start"
                )
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
        """Learn the users and items that have train rows, and sum the rows up."""
        schema, events = train.data.schema, train.data.interactions
        self.users = events.get_column(schema.user).unique().sort()
        self.items = events.get_column(schema.item).unique().sort()
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
        schema, events = data.schema, data.interactions
        return (
            rows_of(events.get_column(schema.user), self.users),
            rows_of(events.get_column(schema.item), self.items),
        )


@dataclass(frozen=True)
class Solution:
    """The mean (the intercept, not the plain mean of the labels) and the biases (n_users,), (n_items,)."""

    mean: float
    user: FloatArray
    item: FloatArray

    def predict(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return (n,) predictions for rows of users and items (n,), -1 for an unknown one."""
        unknown = np.zeros(1)  # the last place, which -1 indexes
        prediction: FloatArray = (
            self.mean + np.append(self.user, unknown)[users] + np.append(self.item, unknown)[items]
        )
        return prediction


@dataclass(frozen=True)
class NormalEquations:
    """The sums over rows that the biases depend on, free of the regularisation.

    Attributes:
        pairs: (n_users, n_items) weight of each distinct pair.
        user_weight, item_weight: (n_users,), (n_items,) weight of each one's rows.
        user_sum, item_sum: the same of weight times centred label.
        centre: the weighted mean of the labels, taken off them first so that the sums keep their digits.
    """

    pairs: csr_array
    user_weight: FloatArray
    item_weight: FloatArray
    user_sum: FloatArray
    item_sum: FloatArray
    centre: float

    @classmethod
    def of(cls, users: IntArray, items: IntArray, label: FloatArray, weight: FloatArray) -> NormalEquations:
        """Sum up n rows of users and items, numbered from 0."""
        shape = (int(users.max()) + 1, int(items.max()) + 1)
        centre = float(np.average(label, weights=weight))
        centred = weight * (label - centre)
        return cls(
            csr_array((weight, (users, items)), shape=shape),  # adds up the rows of a pair
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
        """Return the minimiser, to a residual of ``tolerance`` of the right-hand side's.

        Args:
            user_strength, item_strength: L2 of the biases, above 0: then the minimiser is unique.
            tolerance: when to stop.
            start: where to start, such as the solution for strengths nearby.

        Raises:
            TrainingError: no convergence, which only numbers of wildly different size can cause.
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
        # What the mean meets once the eliminated biases have followed it, as a sum free of cancellation.
        mean_weight = float((gone_weight * gone_strength / gone_diagonal).sum())

        def schur(z: FloatArray) -> FloatArray:  # (1 + n_stay,): the mean, then the biases that stay
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
                "the biases' normal equations did not converge in 10,000 steps (strengths "
                f"{user_strength:g} and {item_strength:g}); look for wildly different labels or weights"
            )
        gone = (gone_label - gone_weight * z[0] - crossed @ z[1:]) / gone_diagonal
        return Solution(self.centre + float(z[0]), *((z[1:], gone) if users_stay else (gone, z[1:])))


def _sums(codes: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum the values (n,) of each code: (size,)."""
    return np.bincount(codes, values, size).astype(np.float64, copy=False)
