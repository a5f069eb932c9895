"""Predicted against actual labels, by decile of the prediction, with intervals over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.metrics import Interval
from twotower.metrics.bootstrap import percentile_interval, user_draws

Floats = NDArray[np.float64]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of the residuals of each bin."""


@dataclass(frozen=True)
class Bin:
    """The rows of one decile of the predictions.

    Attributes:
        rows: how many.
        low: least prediction.
        high: greatest prediction.
        predicted: mean prediction.
        actual: mean label, with its interval over users.
        residual: mean of label minus prediction, with its interval over users.
        rmse: root of the mean squared residual.
        quantiles: of the residuals, at `QUANTILES`.
    """

    rows: int
    low: float
    high: float
    predicted: float
    actual: Interval
    residual: Interval
    rmse: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """How well predictions and labels agree.

    Attributes:
        bins: by ascending prediction; fewer than ten where predictions are equal.
        slope: of the least squares line of the labels on the predictions, 1 if these spread neither too
            much nor too little; with its interval over users. nan where all predictions are equal.
        bias: mean of label minus prediction, with its interval over users.
        label_sd: standard deviation of the labels.
        prediction_sd: standard deviation of the predictions.
    """

    bins: tuple[Bin, ...]
    slope: Interval
    bias: Interval
    label_sd: float
    prediction_sd: float


def calibrate(
    users: pl.Series, label: Floats, prediction: Floats, *, resamples: int, seed: int
) -> Calibration:
    """Cut n rows into deciles of their predictions, and measure each.

    Args:
        users: ids (n,).
        label: (n,).
        prediction: (n,).
        resamples: of the users, behind each interval.
        seed: of the draws.
    """
    user = users.rank("dense").cast(pl.Int64).to_numpy() - 1  # (n,) from 0, whatever the ids
    n_users = int(user.max()) + 1
    edges = np.unique(np.quantile(prediction, np.linspace(0, 1, 11)[1:-1]))
    place = np.searchsorted(edges, prediction, side="right")  # (n,)
    names, place = np.unique(place, return_inverse=True)
    n_bins = len(names)

    def summed(values: Floats) -> Floats:
        """Sum values by user and bin: (n_users, n_bins)."""
        cells = np.bincount(user * n_bins + place, weights=values, minlength=n_users * n_bins)
        return cells.astype(np.float64).reshape(n_users, n_bins)

    x = prediction - prediction.mean()  # the slope's sums don't lose digits
    y = label - label.mean()
    sums = np.stack(
        [summed(of) for of in (np.ones(len(x)), prediction, label, x, y, x * x, x * y)]
    )  # (7, n_users, n_bins)
    drawn = np.concatenate(
        [np.tensordot(draws, sums, axes=(1, 1)) for draws in user_draws(n_users, resamples, seed)]
    )  # (resamples, 7, n_bins)
    whole = sums.sum(axis=1)  # (7, n_bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        means, drawn_means = whole[1:3] / whole[0], drawn[:, 1:3] / drawn[:, :1]
        bins = tuple(
            _bin(
                label[place == b],
                prediction[place == b],
                means[:, b],
                drawn_means[:, :, b],
                int(np.count_nonzero(sums[0, :, b])),
            )
            for b in range(n_bins)
        )
        total, drawn_total = whole.sum(axis=1), drawn.sum(axis=2)  # (7,), (resamples, 7)
        bias = (total[2] - total[1]) / total[0]
        drawn_bias = (drawn_total[:, 2] - drawn_total[:, 1]) / drawn_total[:, 0]
        slope, drawn_slope = _slope(total[None])[0], _slope(drawn_total)
    return Calibration(
        bins,
        percentile_interval(float(slope), drawn_slope, n_users, 0.95),
        percentile_interval(float(bias), drawn_bias, n_users, 0.95),
        float(label.std()),
        float(prediction.std()),
    )


def _bin(label: Floats, prediction: Floats, means: Floats, drawn: Floats, users: int) -> Bin:
    residual = label - prediction
    return Bin(
        rows=len(label),
        low=float(prediction.min()),
        high=float(prediction.max()),
        predicted=float(means[0]),
        actual=percentile_interval(float(means[1]), drawn[:, 1], users, 0.95),
        residual=percentile_interval(float(means[1] - means[0]), drawn[:, 1] - drawn[:, 0], users, 0.95),
        rmse=float(np.sqrt(np.mean(residual**2))),
        quantiles=tuple(np.quantile(residual, QUANTILES).tolist()),
    )


def _slope(total: Floats) -> Floats:
    """Return the slopes (m,) of the sums (m, 7) of 1, prediction, label, x, y, x^2 and xy."""
    n, x, y, xx, xy = total[:, 0], total[:, 3], total[:, 4], total[:, 5], total[:, 6]
    spread = xx - x * x / n
    slopes: Floats = np.where(spread > 1e-12 * np.maximum(xx, 1e-300), (xy - x * y / n) / spread, np.nan)
    return slopes
