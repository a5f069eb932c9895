"""`WideRidge`: predicts vectors from thousands of tags, for rows without a vector of their own.

The ridge regression of `FeatureRidge` with a column for every code that a row of the training set has, solved
by a few steps of conjugate gradients (Hestenes and Stiefel 1952) with the diagonal as the preconditioner: a
step costs two products with the sparse design matrix. The strength is the one with the smallest squared error
for a fifth of the rows that the regression has not seen, as new rows will be. Their error is measured in a
few random directions, which keep squared lengths on average (Johnson and Lindenstrauss 1984).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.towers import SideArrays
from twotower.training.closed_form.feature_ridge import (
    F32,
    F64,
    Design,
    FeatureRidge,
    Regression,
    Ridge,
    is_wide,
)

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Strengths to choose from, in units of rows with mean weight."""
STEPS = 8
"""Steps of conjugate gradients. With strengths from 10 up they reach the solution; with small ones they stop
before it, which shrinks the weights a little more, and the strength is chosen with that."""
HELD_OUT = 5
"""One row in so many is held out to choose the strength."""
DIRECTIONS = 32
"""Random directions of the vectors in which the error is measured."""
_BLOCK = 64  # directions that are solved for at once, so that memory doesn't grow with the width


def for_newcomers(side: SideArrays, weight: NDArray[np.floating]) -> Ridge:
    """Return the regression that predicts the vectors of rows without training interactions.

    Args:
        side: the rows with training interactions.
        weight: (rows,) weights, not negative; if all are 0, rows are unweighted.
    """
    if is_wide(side):
        return WideRidge(Design.of(side, least=1, most=side.shape.n_codes), weight)
    return FeatureRidge(Design.of(side), weight)


class WideRidge(Ridge):
    """Ridge regression on all codes of the training set, with one strength; see `Ridge`."""

    def __init__(self, design: Design, weight: NDArray[np.floating]) -> None:
        super().__init__(design, weight)
        self.design = design.matrix.astype(np.float32)
        self.held_out = np.random.default_rng(0).permutation(len(self.weight)) % HELD_OUT == 0

    def fit(self, vectors: F32) -> Regression:
        """Fit vectors float32 (rows, d)."""
        constant = self.mean(vectors)
        centred = vectors - constant.astype(np.float32)
        weights = np.zeros((len(self.centre), vectors.shape[1]))
        strength = self.chosen(centred)
        if strength is not None:
            system = _System(self.design, self.weight, strength)
            for start in range(0, vectors.shape[1], _BLOCK):
                part = slice(start, start + _BLOCK)
                weights[:, part] = system.solve(centred[:, part])
        return Regression(constant - self.centre @ weights, weights)

    def chosen(self, centred: F32) -> float | None:
        """Return the strength with the smallest error for the rows held out; None for that of the mean.

        Args:
            centred: float32 (rows, d), of mean 0.
        """
        out, most = self.held_out, centred.shape[1]
        if not out.any() or out.all() or not self.weight[~out].any():
            return None
        seen = centred
        if most > DIRECTIONS:
            turn = np.random.default_rng(0).standard_normal((most, DIRECTIONS)) / np.sqrt(DIRECTIONS)
            seen = centred @ turn.astype(np.float32)
        weight, design = self.weight[out], self.design[out]
        best, least = None, float(weight @ np.square(seen[out]).sum(axis=1))
        before = np.inf
        for strength in STRENGTHS:
            system = _System(self.design[~out], self.weight[~out], strength)
            error = seen[out] - system.said(design, system.solve(seen[~out]))
            worth = float(weight @ np.square(error).sum(axis=1))
            if worth < least:
                best, least = strength, worth
            if worth > before:
                break
            before = worth
        return best


class _System:
    """The normal equations of a centred ridge regression.

    Args:
        design: (rows, columns).
        weight: (rows,).
        strength: of the penalty.
    """

    def __init__(self, design: csr_array, weight: F64, strength: float) -> None:
        self.design, self.weight, self.strength = (
            design,
            weight.astype(np.float32)[:, None],
            np.float32(strength),
        )
        self.turned = csr_array(design.T)
        total = float(weight.sum())
        self.centre = (weight @ design / total).astype(np.float32)
        self.total = np.float32(total)
        squares = weight @ design.power(2) - total * np.square(self.centre)
        self.diagonal = (np.maximum(squares, 0.0) + strength).astype(np.float32)[:, None]

    def solve(self, targets: F32) -> F32:
        """Return the weights float32 (columns, d) for targets (rows, d)."""
        left: F32 = self.turned @ (self.weight * targets)
        left -= np.outer(self.centre, self.weight[:, 0] @ targets)
        found: F32 = np.zeros_like(left)
        scaled = left / self.diagonal
        step, size = scaled, (left * scaled).sum(axis=0)
        for _ in range(STEPS):
            moved = self.turned @ (self.weight * (self.design @ step))
            moved += self.strength * step - np.outer(self.total * self.centre, self.centre @ step)
            length = size / np.maximum((step * moved).sum(axis=0), np.finfo(np.float32).tiny)
            found += length * step
            left -= length * moved
            scaled = left / self.diagonal
            size, last = (left * scaled).sum(axis=0), size
            step = scaled + size / np.maximum(last, np.finfo(np.float32).tiny) * step
        return found

    def said(self, design: csr_array, weights: F32) -> F32:
        """Return the predictions for rows of a design matrix, against their mean."""
        said: F32 = design @ weights - self.centre @ weights
        return said
