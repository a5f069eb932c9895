"""Ratios of sums over users, and differences of two of them, with studentised bootstrap intervals over users.

A percentile interval of a skewed sum, such as one with a few large weights, is too short on one side. The
studentised interval takes the quantiles of (resample - value) / (standard error of the resample), which are
skewed the other way (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 12.5). The
standard error is that of the linearised ratio, so that a resample needs no resamples of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from twotower.errors import ConfigError
from twotower.metrics.bootstrap import user_draws
from twotower.metrics.checks import FloatArray
from twotower.metrics.interval import Interval

Ratio = tuple[FloatArray, FloatArray]
"""Sums of each user: of the numerator (n_users,), and of the denominator."""


def ratio_interval(
    ratio: Ratio, minus: Ratio | None = None, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return sum(numerator) / sum(denominator), less that of ``minus`` if it is given, with its interval.

    The value is nan if a denominator is 0; the bounds are nan with fewer than two users, or where every
    resample lacks a standard error.

    Raises:
        ConfigError: level is not between 0 and 1, or resamples or seed out of range.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie between 0 and 1; got {level}. 0.95 gives a 95% interval.")
    columns = np.stack([*ratio, *(minus or ())], axis=1).astype(np.float64)  # (n_users, 2 or 4)
    n_users, width = columns.shape
    pairs = list(combinations_with_replacement(range(width), 2))
    moments = np.stack([columns[:, i] * columns[:, j] for i, j in pairs], axis=1)
    ((value,), (error,)) = _linearised(columns.sum(0)[None], moments.sum(0)[None], pairs)
    if n_users < 2 or not math.isfinite(value):
        return Interval(float(value) if math.isfinite(value) else math.nan, math.nan, math.nan)
    if error == 0.0:  # every user is alike
        return Interval(float(value), float(value), float(value))
    t = []
    for draws in user_draws(n_users, resamples, seed):
        with np.errstate(divide="ignore", invalid="ignore"):
            of, errors = _linearised(draws @ columns, draws @ moments, pairs)
            t.append((of - value) / errors)
    found = np.concatenate(t)
    found = found[np.isfinite(found)]
    if not found.size:
        return Interval(float(value), math.nan, math.nan)
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(value), float(value - high * error), float(value - low * error))


def _linearised(
    totals: FloatArray, moments: FloatArray, pairs: Sequence[tuple[int, int]]
) -> tuple[FloatArray, FloatArray]:
    """Return the values (n,) and their standard errors (n,) of resamples.

    Args:
        totals: sums of the columns, (n, 2 or 4).
        moments: sums of the products of each pair of columns, (n, pairs).
        pairs: of columns.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        value, gradient = np.zeros(len(totals)), np.empty_like(totals)
        for at, sign in zip(range(0, totals.shape[1], 2), (1.0, -1.0), strict=False):
            top, bottom = totals[:, at], totals[:, at + 1]
            value += sign * top / bottom
            gradient[:, at], gradient[:, at + 1] = sign / bottom, -sign * top / bottom**2
        # The sum over users of each one's influence, squared; influences sum up to 0 by construction.
        squares = sum(
            (1.0 if i == j else 2.0) * gradient[:, i] * gradient[:, j] * moments[:, at]
            for at, (i, j) in enumerate(pairs)
        )
    return value, np.sqrt(np.maximum(np.asarray(squares), 0.0))
