"""MAE, RMSE and R2, in the label's units.

Nothing is scaled or inverted here: predictions of a transformed label must first be converted back with the
transformation fitted on the training set.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from twotower.errors import DataError
from twotower.metrics.checks import FloatArray, float_column
from twotower.metrics.metric import RatingMetric, Sums, ratio

# Below this share of the uncentred sum of squares, a difference of two such sums is rounding error.
_ROUNDING = 1e-12


class MAE(RatingMetric):
    """The mean absolute error, `mae`."""

    name = "mae"
    title = "MAE"
    meaning = "mean absolute error, in the label's units; lower is better"
    higher_is_better = False
    unit = "label"
    shown = 2
    cappable = True

    def value(self, sums: Sums) -> FloatArray:
        """Return the mean."""
        return ratio(sums["absolute"], sums["rows"])


class RMSE(RatingMetric):
    """The root of the mean squared error, `rmse`."""

    name = "rmse"
    title = "RMSE"
    meaning = "root of the mean squared error, in the label's units; lower is better"
    higher_is_better = False
    unit = "label"
    shown = 1
    cappable = True

    def value(self, sums: Sums) -> FloatArray:
        """Return the root of the mean."""
        return np.sqrt(ratio(sums["squared_error"], sums["rows"]))


class R2(RatingMetric):
    """The share of the label's variance explained, `r2`."""

    name = "r2"
    title = "R2"
    heading = "R²"
    meaning = (
        "share of the variance of the labels that is predicted; 1 is perfect, 0 is no better than their mean"
    )
    undefined = "constant labels: not defined"
    higher_is_better = True
    shown = 3
    cappable = True

    def value(self, sums: Sums) -> FloatArray:
        """Return one minus the squared errors' share of the variation."""
        label_squared = sums["label_squared"]
        variation = label_squared - ratio(np.square(sums["label"]), sums["rows"])  # sum of (y - ybar)^2
        variation = np.where(variation > _ROUNDING * label_squared, variation, 0.0)
        return 1.0 - ratio(sums["squared_error"], variation)


def mae(label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean absolute error, ``sum_i w_i |y_i - p_i| / sum_i w_i``; lower is better.

    Args:
        label, prediction: (n,), finite, in the label's units.
        weight: (n,), not negative, not all zero; without it every row weighs 1.

    Degenerate case: none; one row gives its absolute error. Source: Willmott & Matsuura, Climate Research
    2005.

    >>> mae([1.0, 2.0], [1.5, 4.0])
    1.25
    """
    y, p, w = _columns(label, prediction, weight)
    return float(np.average(np.abs(y - p), weights=w))


def rmse(label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Root of the mean squared error, ``sqrt(sum_i w_i (y_i - p_i)^2 / sum_i w_i)``; lower is better.

    Arguments as for `mae`. Degenerate case: none; one row gives its absolute error. Source: Chai & Draxler,
    Geosci. Model Dev. 2014.

    >>> rmse([0.0, 0.0], [3.0, 4.0]) == (25 / 2) ** 0.5
    True

    """
    y, p, w = _columns(label, prediction, weight)
    return math.sqrt(float(np.average(np.square(y - p), weights=w)))


def r2(label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Share of the label's variance explained; higher is better, 1 is perfect, below 0 worse than the mean.

    ``1 - sum_i w_i (y_i - p_i)^2 / sum_i w_i (y_i - ybar)^2`` with ``ybar`` the (weighted) mean of these
    labels.

    Arguments as for `mae`. Degenerate case: a constant label (or a single row) has no variance to explain:
    nan, where scikit-learn gives 1 or 0. Source: Kvalseth, The American Statistician 1985, formula (1).

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5

    """
    y, p, w = _columns(label, prediction, weight)
    weighed = y if w is None else y[w > 0]
    # Compared exactly, not through the variance: a constant like 0.1 differs from its rounded mean.
    if weighed.min() == weighed.max():
        return math.nan
    squared_error, squared_spread = np.square(y - p), np.square(y - np.average(y, weights=w))
    if w is not None:
        squared_error, squared_spread = w * squared_error, w * squared_spread
    return float(1.0 - squared_error.sum() / squared_spread.sum())


def _columns(
    label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    y = float_column("label", label)
    p = float_column("prediction", prediction, y.size)
    if weight is None:
        return y, p, None
    w = float_column("weight", weight, y.size)
    if w.min() < 0:
        raise DataError(
            f"weight must not be negative; got {w.min()} in row {int(np.argmin(w))}. Correct that row."
        )
    if w.max() == 0:
        raise DataError(
            "weight must have at least one positive value; got only zeros. Omit weight for equal weights."
        )
    return y, p, w
