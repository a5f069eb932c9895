"""Folding in: the vector of a user unseen in training, computed from the user's items in closed form.

With the item vectors fixed, the loss of `AllPairs` is a separate least-squares problem for each user, and the
optimal vector solves a small linear system (Hu, Koren, Volinsky 2008, equation 4). With an item vector split
into ``[x, b]``, where x multiplies the user's vector u and b is the item's bias, the system of each ensemble
member is

    A u = sum_i (y_i - b_i) x_i - c sum_j (b_j - rest) x_j + R u0
    A   = sum_i x_i x_i'        + c sum_j x_j x_j'         + R

with ``c = cell * n ** cell_power``, where i runs over the user's n items, j over the catalogue, and R
regularises towards u0, the average user. R is ``ridge * sqrt(n)`` times the identity; or, if training
modelled user vectors as draws from one population, ``ridge`` times the precision matrix of the trained users'
vectors, so that a new user may deviate from the average as trained users do. New users and recent events thus
take effect without retraining. The right-hand side is a sum over the user's items, so every score is one too,
and the solution gives the exact contribution of each item.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from twotower.core.reprs import ShortRepr
from twotower.kernels.layout import VectorLayout

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.integer]

_NARROW = 0.1
"""Lower bound of a direction's variance, as a share of the largest variance of the trained users' vectors:
posterior means vary less than the users do in directions with little data."""
_SAMPLE = 20_000  # number of trained users from which the covariance is estimated
_BLOCK = 65_536  # items processed at once, so that memory does not grow with the catalogue


def unit_precision(covariance: F64, least: float = 1e-9) -> F64:
    """Return the inverse of a covariance (d, d), scaled to determinant 1.

    Args:
        covariance: symmetric positive semi-definite.
        least: smaller variances are raised to this share of the largest one.
    """
    values, axes = np.linalg.eigh(covariance)
    values = np.maximum(values, least * values[-1] + 1e-300)
    precision: F64 = (axes * (np.exp(np.log(values).mean()) / values)) @ axes.T
    return precision


@dataclass(frozen=True)
class FoldInSettings:
    """The training settings that folding in needs.

    Attributes:
        cell: weight of every cell of a user with one item, relative to an observed pair; see `AllPairs`.
        ridge: strength of the ridge penalty, multiplied by the square root of the number of items unless
            ``population`` is set.
        positive: target of an item known only to be a positive.
        rest: target of every cell.
        mean: a score on the label's scale is ``mean + sd * score``.
        sd: see ``mean``.
        biased: whether users have a bias; if not, it stays zero, as in `twotower.training.LinearALS`.
        population: whether user vectors are modelled as draws from one population.
        cell_power: power of a user's number of items in the weight of the user's cells.
    """

    cell: float
    ridge: float
    positive: float = 1.0
    rest: float = 0.0
    mean: float = 0.0
    sd: float = 1.0
    biased: bool = True
    population: bool = False
    cell_power: float = 0.0

    def cells(self, n: int) -> float:
        """Return the weight of every cell of a user with n items."""
        return self.cell * math.pow(n, self.cell_power)


@dataclass(frozen=True, eq=False, repr=False)
class FoldIn(ShortRepr):
    """Computes user vectors, given the item vectors.

    Attributes:
        items: float32 (n_items, dim), ``[x, b]`` of each member; x ends with 1, which the user's bias
            multiplies.
        warm: bool (n_items,), the items in the training set.
        typical: float32 (dim,), the average user, used when nothing is known of a user.
        layout: of the vectors.
        settings: the training settings.
        shape: float64 (members, free, free), matrix of determinant 1 that the ridge multiplies; None for the
            identity.
    """

    items: F32
    warm: NDArray[np.bool_]
    typical: F32
    layout: VectorLayout
    settings: FoldInSettings
    shape: F64 | None = None

    @classmethod
    def of(
        cls, users: F32, items: F32, warm: NDArray[np.bool_], layout: VectorLayout, settings: FoldInSettings
    ) -> FoldIn:
        """Build a `FoldIn` from the vectors of a trained model.

        Args:
            users: float32 (n, dim), the trained users' vectors.
            items: as the attribute.
            warm: as the attribute.
            layout: of the vectors.
            settings: the training settings.
        """
        made = cls(items, warm, users.mean(axis=0, dtype=np.float64).astype(np.float32), layout, settings)
        if not settings.population:
            return made
        step = -(-len(users) // _SAMPLE)
        away = np.stack([made._raw(user) for user in users[::step]]) - made._start  # (n, members, free)
        each = away.transpose(1, 0, 2)
        return replace(made, shape=np.stack([unit_precision(own.T @ own, _NARROW) for own in each]))

    def vector(self, rows: Rows, targets: F64 | None = None) -> F32:
        """Return the vector of a new user.

        Args:
            rows: item rows (n,), one for each of the user's items; an item may come twice.
            targets: (n,) their target scores, on the scale of training; NaN for an item without information,
                None if all are positives.

        Returns:
            float32 (dim,), whose dot products with the item vectors are scores; the average user's if no item
            counts.
        """
        x, b, y = self._counted(rows, targets)
        if not len(y):
            return self.typical.copy()
        ridge = self._ridge(len(y))
        solved = []
        for member in range(self.layout.members):
            right = self._pull(x[member], b[member], y) + ridge[member] @ self._start[member]
            right -= self.settings.cells(len(y)) * self._against[member]
            solved.append(cho_solve(self._factor(x[member], ridge, member), right, check_finite=False))
        return self._finished(np.stack(solved))

    def moved(
        self, vector: F32, past: Rows, past_targets: F64 | None, rows: Rows, targets: F64 | None = None
    ) -> F32:
        """Return the updated vector of a known user after new events.

        The current vector is treated as the least-squares solution for the user's past, and the new events
        update it (recursive least squares). Without new events it is unchanged.

        Args:
            vector: float32 (dim,), as trained.
            past: item rows (m,) it was computed from.
            past_targets: (m,), as in `vector`; only which are NaN matters.
            rows: item rows (n,) of the new events.
            targets: (n,), as in `vector`.
        """
        x, b, y = self._counted(rows, targets)
        if not len(y):
            return vector.copy()
        before = self._counted(past, past_targets)[0]
        ridge = self._ridge(before.shape[1] + len(y))
        start, solved = self._raw(vector), []
        for member in range(self.layout.members):
            own = x[member]
            right = self._pull(own, b[member], y) - own.T @ (own @ start[member])
            factor = self._factor(np.concatenate([before[member], own]), ridge, member)
            solved.append(start[member] + cho_solve(factor, right, check_finite=False))
        return self._finished(np.stack(solved))

    def with_items(self, vectors: F32) -> FoldIn:
        """Return a copy with new items (n, dim) appended.

        They are not in the training set, so the least-squares problem does not change.
        """
        other = replace(
            self,
            items=np.concatenate([self.items, vectors]),
            warm=np.append(self.warm, np.zeros(len(vectors), dtype=np.bool_)),
        )
        other.__dict__["_gramian"] = self._gramian  # a sum over warm items only
        return other

    def explain(self, vector: F32, rows: Rows, targets: F64 | None, of: Rows) -> tuple[F64, F64]:
        """Split scores exactly into a base and a contribution of each of a user's items.

        ``score = base + sum of contributions``. An item's contribution to the score of j is ``(y_i - b_i)
        x_j' A^-1 x_i``. The base is the rest: the average user and the popularity of j; for a trained vector
        also the effect of the user's features.

        Args:
            vector: float32 (dim,) of the user, from `vector`, `moved` or the towers.
            rows: item rows (n,) of the user.
            targets: (n,), as in `vector`.
            of: item rows (m,) whose scores are split.

        Returns:
            float64 (m,) bases and float64 (m, n) contributions, on the scale of scores.
        """
        scores = self.items[of].astype(np.float64) @ vector.astype(np.float64)
        parts = np.zeros((len(of), len(rows)))
        y = self._targets(rows, targets)
        counts = np.isfinite(y)
        if counts.any():
            x, b, y = self._counted(rows, targets)
            ridge = self._ridge(len(y))
            asked = self._split(self.items[of])
            scale = self.settings.sd / self.layout.members
            for member in range(self.layout.members):
                solved = cho_solve(self._factor(x[member], ridge, member), x[member].T, check_finite=False)
                parts[:, counts] += scale * (asked[member, :, : self._free] @ solved) * (y - b[member])
        return scores - parts.sum(axis=1), parts

    @cached_property
    def _gramian(self) -> F64:
        """Sum over the warm items of each member's outer product, (members, width, width)."""
        layout = self.layout
        total = np.zeros((layout.members, layout.size, layout.size))
        rows = np.flatnonzero(self.warm)
        for start in range(0, len(rows), _BLOCK):
            part = self._split(self.items[rows[start : start + _BLOCK]])
            total += part.transpose(0, 2, 1) @ part
        return total

    @cached_property
    def _against(self) -> F64:
        """Sum over the warm items of (b - rest) x, (members, free)."""
        x, rest = slice(self._free), self.settings.rest
        one, bias = self.layout.USER_BIAS, self.layout.ITEM_BIAS
        return self._gramian[:, x, bias] - rest * self._gramian[:, x, one]

    @cached_property
    def _start(self) -> F64:
        return self._raw(self.typical)

    @property
    def _free(self) -> int:
        """Number of free components of a vector: the latent ones, and the bias unless that stays zero."""
        return self.layout.size - (1 if self.settings.biased else 2)

    def _split(self, items: F32) -> F64:
        """Return item vectors (n, dim) by member, (members, n, width)."""
        return np.ascontiguousarray(self.layout.parts(items).transpose(1, 0, 2), dtype=np.float64)

    def _targets(self, rows: Rows, targets: F64 | None) -> F64:
        return np.full(len(rows), self.settings.positive) if targets is None else np.asarray(targets)

    def _counted(self, rows: Rows, targets: F64 | None) -> tuple[F64, F64, F64]:
        """Return x (members, n, free), b (members, n) and y (n,) of the items that count."""
        y = self._targets(rows, targets)
        counts = np.isfinite(y)
        parts = self._split(self.items[rows[counts]])
        return parts[:, :, : self._free], parts[:, :, self.layout.ITEM_BIAS], y[counts]

    @staticmethod
    def _pull(x: F64, b: F64, y: F64) -> F64:
        pull: F64 = x.T @ (y - b)
        return pull

    def _ridge(self, n: int) -> F64:
        """Return R, the regularisation of a user with n items, (members, free, free)."""
        if self.shape is not None:
            return self.settings.ridge * self.shape
        grown = self.settings.ridge if self.settings.population else self.settings.ridge * math.sqrt(n)
        ridge: F64 = grown * self._identity
        return ridge

    @cached_property
    def _identity(self) -> F64:
        return np.tile(np.eye(self._free), (self.layout.members, 1, 1))

    def _factor(self, x: F64, ridge: F64, member: int) -> tuple[F64, bool]:
        """Return the Cholesky factor of A for one member's items x (n, free)."""
        matrix = x.T @ x + self.settings.cells(len(x)) * self._gramian[member, : self._free, : self._free]
        # the last term keeps A invertible when neither the cells nor the ridge do
        matrix[np.diag_indices_from(matrix)] += 1e-9 * (1.0 + np.trace(matrix) / len(matrix))
        matrix += ridge[member]
        factor: tuple[F64, bool] = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return factor

    def _raw(self, vector: F32) -> F64:
        """Return the free components of a user vector, on the scale of training, (members, free)."""
        raw = vector.astype(np.float64)
        self.layout.shift(raw, -self.settings.mean)
        parts = self.layout.parts(raw[None])[0, :, : self._free]
        return parts * (self.layout.members / self.settings.sd)

    def _finished(self, parts: F64) -> F32:
        """Undo `_raw`."""
        layout = self.layout
        latent, bias = parts[:, : layout.size - 2], parts[:, layout.size - 2 :]
        if not self.settings.biased:
            bias = np.zeros((layout.members, 1))
        (done,) = layout.users(latent[None], bias[None]) * (self.settings.sd / layout.members)
        layout.shift(done, self.settings.mean)
        vector: F32 = done.astype(np.float32)
        return vector
