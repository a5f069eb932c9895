"""`FeatureRidge`: predicts vectors from features, for each row without using the row's own vector.

A ridge regression of vectors (rows, d) on the features of the rows, all directions at once:

    minimise  sum_i w_i |z_i - c - W' x_i|^2 + strength |W|^2

The strength is chosen for each principal direction of the vectors by leave-one-out cross-validation, which
needs only one solution (Allen's PRESS, 1974): with h_i the leverage of row i, its prediction from the other
rows is ``z_i - (z_i - zhat_i) / (1 - h_i)``. If features do not help, only the constant is used. The rows'
weights are fixed, so the expensive part (one eigendecomposition and the leverages) is done once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from twotower.core.lists import Lists
from twotower.features.value_codes import UNKNOWN
from twotower.kernels.least_squares import ROWS
from twotower.towers import LinearTower, SideArrays

LEAST_ROWS = 3
"""Minimum number of rows of a code that gets its own weights."""
MOST_CODES = 1024
"""Maximum number of codes with their own weights (the most frequent); `FeatureRidge` ignores others."""
CHOSEN_ON = 20_000
"""Maximum number of rows on which the strength is chosen."""
STRENGTHS = tuple(float(x) for x in 10.0 ** np.arange(0.0, 5.5, 0.5))
"""Strengths to choose from, in units of rows with mean weight."""
_BLOCK = 8192  # dense rows of the design matrix at once

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """Design matrix of features: the numbers, then one column per code that enough rows have.

    Attributes:
        matrix: (rows, columns) float64; each entry of a list counts as in a `LinearTower`.
        columns: for each coded column the range ``[first, last)`` of its codes, the codes in the training set
            (those with a column first), and their columns.
    """

    matrix: csr_array
    columns: tuple[tuple[int, int, NDArray[np.int64], NDArray[np.int64]], ...]

    @classmethod
    def of(cls, side: SideArrays, least: int = LEAST_ROWS, most: int | None = None) -> Design:
        """Return the design matrix of some rows.

        Args:
            side: the rows.
            least: minimum number of rows of a code that gets a column.
            most: maximum number of such codes; None for `MOST_CODES`.
        """
        rows, n_codes = side.rows, side.shape.n_codes
        each, counts = _codes(side)
        frequent = np.argsort(-counts, kind="stable")[: MOST_CODES if most is None else most]
        has = np.zeros(n_codes, dtype=np.bool_)
        has[frequent[counts[frequent] >= least]] = True
        parts = [csr_array(side.dense.cpu().numpy().astype(np.float64))]
        columns, width = [], side.dense.shape[1]
        bags = side.shape.bags
        for lists, (first, last) in zip(each, side.shape.ranges.values(), strict=True):
            there = first + np.flatnonzero(counts[first:last] > 0)
            there = np.concatenate([there[has[there]], there[~has[there]]])
            n = int(has[first:last].sum())
            place = np.full(n_codes, -1)
            place[there[:n]] = np.arange(n)
            code = place[lists.values]
            known, of = code >= 0, lists.owners()
            share = (1.0 / _divisors(lists, first + UNKNOWN))[of] if first in bags else np.ones(len(of))
            parts.append(csr_array((share[known], (of[known], code[known])), shape=(rows, n)))
            columns.append((first, last, there, np.arange(width, width + n)))
            width += n
        return cls(csr_array(hstack(parts, format="csr")), tuple(columns))


def is_wide(side: SideArrays) -> bool:
    """Return whether more than `MOST_CODES` codes are frequent enough to have weights of their own."""
    return int((_codes(side)[1] >= LEAST_ROWS).sum()) > MOST_CODES


def _codes(side: SideArrays) -> tuple[list[Lists], NDArray[np.int64]]:
    """Return the codes of each coded column, and the number of rows with each code, (n_codes,)."""
    n_codes, one = side.shape.n_codes, np.ones(side.rows, dtype=np.int64)
    each = [Lists.from_lengths(one, codes.cpu().numpy()) for codes in side.codes.T]
    each += [Lists(indptr.cpu().numpy(), codes.cpu().numpy()) for indptr, codes in side.bags]
    counts = np.zeros(n_codes, dtype=np.int64)
    for lists in each:
        distinct = np.unique(lists.owners() * np.int64(n_codes) + lists.values) % n_codes
        counts += np.bincount(distinct, minlength=n_codes)
    return each, counts


def _divisors(lists: Lists, unknown: int) -> F64:
    """Return what `LinearTower.divisors` does, (rows,)."""
    known = np.bincount(lists.owners()[lists.values != unknown], minlength=len(lists.lengths))
    return np.sqrt(np.maximum(known, 1))


@dataclass(frozen=True, eq=False)
class Regression:
    """A linear function of features.

    Attributes:
        constant: float64 (d,).
        weights: float64 (columns, d), for the columns of the design matrix.
    """

    constant: F64
    weights: F64


@dataclass(frozen=True, eq=False)
class Said(Regression):
    """Vectors of users or items, predicted from features.

    Attributes:
        honest: float32 (rows, d), leave-one-out prediction of each row.
    """

    honest: F32


class Ridge(ABC):
    """Ridge regression of user or item vectors on features.

    Args:
        design: features of the rows.
        weight: (rows,) weights, not negative; if all are 0, rows are unweighted.
    """

    def __init__(self, design: Design, weight: NDArray[np.floating]) -> None:
        weight = weight.astype(np.float64) if weight.any() else np.ones(len(weight))
        self.weight = weight / weight.mean()
        self.columns = design.columns
        self.centre = self.weight @ design.matrix / self.weight.sum()  # (columns,)

    def mean(self, vectors: F32) -> F64:
        """Return the weighted mean of vectors float32 (rows, d), float64 (d,)."""
        total = np.zeros(vectors.shape[1])
        for first in range(0, len(vectors), ROWS):
            rows = slice(first, first + ROWS)
            total += self.weight[rows] @ vectors[rows].astype(np.float64)
        mean: F64 = total / self.weight.sum()
        return mean

    @abstractmethod
    def fit(self, vectors: F32) -> Regression:
        """Fit vectors float32 (rows, d)."""

    def write(self, said: Regression, tower: LinearTower, places: NDArray[np.int64]) -> None:
        """Set a tower's weights to the fitted regression; codes not in the training set get the mean.

        Args:
            said: the fitted regression.
            tower: the tower, changed in place.
            places: positions of the tower's outputs.
        """
        n_dense = tower.shape.n_dense
        codes = np.zeros((tower.shape.n_codes, said.weights.shape[1]))
        for first, last, there, column in self.columns:
            own = said.weights[column]
            codes[first:last] = self.centre[column] @ own
            codes[there] = 0.0  # rows with such a code are not distinguished
            codes[there[: len(own)]] = own
        table = tower.table
        with torch.no_grad():
            for parameter, values in (
                (tower.constant, said.constant),
                (tower.numbers, said.weights[:n_dense]),
                (table, codes),
            ):
                parameter[..., places] = torch.from_numpy(values.astype(np.float32)).to(parameter.device)


class FeatureRidge(Ridge):
    """The exact solution, for up to some thousand columns, with leave-one-out predictions; see `Ridge`."""

    def __init__(self, design: Design, weight: NDArray[np.floating]) -> None:
        super().__init__(design, weight)
        matrix = design.matrix
        gram = (matrix.T @ matrix.multiply(self.weight[:, None]).tocsr()).toarray()
        gram -= self.weight.sum() * np.outer(self.centre, self.centre)
        values, self.turn = np.linalg.eigh(gram)
        self.values = np.maximum(values, 0.0)
        # from here on arrays with one row per row are float32, and those per column float64
        self.design = matrix.astype(np.float32)
        self.leverages = self._leverages()  # (strengths, rows)
        step = -(-matrix.shape[0] // CHOSEN_ON)
        self.judged = np.arange(0, matrix.shape[0], step)

    def fit(self, vectors: F32) -> Said:
        """Fit vectors float32 (rows, d), with a separate strength for each principal direction.

        Features may predict one direction well (a film's genre, say) and another not at all.
        """
        constant = self.mean(vectors)
        if not len(self.centre):  # no features
            same = np.broadcast_to(constant.astype(np.float32), vectors.shape)
            return Said(constant, np.zeros((0, vectors.shape[1])), same)
        each = self.weight.astype(np.float32)[:, None]
        centred = vectors - constant.astype(np.float32)
        _, axes = np.linalg.eigh(((centred * each).T @ centred).astype(np.float64))  # (d, d)
        centred = centred @ axes.astype(np.float32)
        pull = self.turn.T @ (self.design.T @ (each * centred))  # (columns, d); sums to 0
        judged, weight, design = centred[self.judged], self.weight[self.judged], self.design[self.judged]
        least = weight @ np.square(judged)  # (d,), error of the constant alone
        weights = np.zeros((len(self.centre), len(axes)))
        leverages = np.zeros(vectors.shape, dtype=np.float32)
        told = np.zeros(len(axes), dtype=np.bool_)
        for strength, of_rows in zip(STRENGTHS, self.leverages, strict=True):
            found = self.turn @ (pull / (self.values + strength)[:, None])
            error = judged - self._said(design, found)
            error /= (1.0 - of_rows[self.judged])[:, None]
            worth = weight @ np.square(error)
            better = worth < least
            least[better], told[better] = worth[better], True
            weights[:, better], leverages[:, better] = found[:, better], of_rows[:, None]
        centred -= (centred - self._said(self.design, weights)) / (1.0 - leverages)
        centred[:, ~told] = 0.0
        honest = centred @ axes.T.astype(np.float32) + constant.astype(np.float32)
        weights = weights @ axes.T
        return Said(constant - self.centre @ weights, weights, honest)

    def _said(self, design: csr_array, weights: F64) -> F32:
        """Return the predictions from features without the constant, for rows of the design matrix."""
        said: F32 = design @ weights.astype(np.float32) - (self.centre @ weights).astype(np.float32)
        return said

    def _leverages(self) -> F32:
        rows = self.design.shape[0]
        found = np.empty((len(STRENGTHS), rows), dtype=np.float32)
        shrunk = 1.0 / (self.values + np.array(STRENGTHS)[:, None])  # (strengths, columns)
        for start in range(0, rows, _BLOCK):
            part = slice(start, start + _BLOCK)
            turned = np.square((self.design[part].toarray() - self.centre) @ self.turn)
            found[:, part] = (shrunk @ turned.T) * self.weight[part]
        found += (self.weight / self.weight.sum()).astype(np.float32)  # leverage of the constant
        return np.minimum(found, np.float32(0.99))
