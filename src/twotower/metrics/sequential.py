"""Confidence that holds however often one looks: for a difference of two means, and for shares of a split.

An interval of a fixed sample is right for one look. Who looks every day and stops at the first difference is
wrong far more often than 1 in 20. A confidence sequence holds the truth at all looks together, with the
probability that it states, and so does an always-valid p-value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from twotower.errors import ConfigError
from twotower.metrics.checks import FloatArray
from twotower.metrics.interval import Interval

LEAST = 100
"""Users of each group before there is an interval: it is asymptotic, and needs that variances are known."""
_CONCENTRATION = 100.0


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Attributes:
        value: with its confidence sequence as of now; the bounds are nan with fewer than `LEAST` users in a
            group, or where all outcomes are the same.
        p: always-valid p-value; nan as above.
    """

    value: Interval
    p: float


def mean_difference(
    one: FloatArray, other: FloatArray, *, level: float = 0.95, planned: int = 10_000
) -> Difference:
    """Return mean(one) - mean(other) of independent users, with an asymptotic confidence sequence.

    With n users, the standard error s of the difference and rho, the bounds are
    ``s sqrt(2 (n rho^2 + 1) / (n rho^2) log(sqrt(n rho^2 + 1) / alpha))``, the normal mixture of Robbins, as
    in the mixture sequential probability ratio test; see Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
    *Time-uniform central limit theory and asymptotic confidence sequences*, Annals of Statistics 2024. rho is
    chosen so that they are narrowest at ``planned`` users; they hold at any number.

    Args:
        one: an outcome of each user (n,).
        other: of each user of the other group (m,).
        level: with which the bounds hold at all looks together.
        planned: users of both groups at which most is wanted; to be chosen before looking.

    Raises:
        ConfigError: level is not between 0 and 1, or planned is below 1.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie between 0 and 1; got {level}. 0.95 gives a 95% interval.")
    if planned < 1:
        raise ConfigError(f"planned must be a number of users of at least 1, got {planned}")
    if not len(one) or not len(other):
        return Difference(Interval(math.nan, math.nan, math.nan), math.nan)
    value = float(one.mean() - other.mean())
    if min(len(one), len(other)) < LEAST:
        return Difference(Interval(value, math.nan, math.nan), math.nan)
    error = math.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    if error == 0.0:
        return Difference(Interval(value, math.nan, math.nan), math.nan)
    width, p = mixture_bounds(value / error, len(one) + len(other), 1.0 - level, planned)
    return Difference(Interval(value, value - width * error, value + width * error), p)


def mixture_bounds(z: float, n: int, alpha: float, planned: int) -> tuple[float, float]:
    """Return half the width in standard errors, and the p-value of a difference of z standard errors.

    Args:
        z: the difference in standard errors.
        n: users of both groups.
        alpha: 1 - level.
        planned: see `mean_difference`.
    """
    log_alpha = -2.0 * math.log(alpha)
    rho = (log_alpha + math.log(max(log_alpha, 1.0)) + 1.0) / planned  # squared
    spread = n * rho
    width = math.sqrt(2.0 * (spread + 1.0) / spread * math.log(math.sqrt(spread + 1.0) / alpha))
    p = math.exp(min(0.0, 0.5 * math.log(spread + 1.0) - z * z * spread / (2.0 * (spread + 1.0))))
    return width, p


def split_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return an always-valid p-value that users came in these shares (sample ratio mismatch).

    It is 1 / the Bayes factor of a Dirichlet mixture around the shares against the shares themselves (Lindon
    and Malek, *Anytime-valid inference for multinomial count data*, NeurIPS 2022).

    Args:
        counts: users of each group.
        shares: expected shares of each, above 0; they sum to 1.
    """
    n, theta = np.asarray(counts, dtype=float), np.asarray(shares, dtype=float)
    prior = _CONCENTRATION * theta
    log_factor = (
        gammaln(prior.sum())
        - gammaln(prior.sum() + n.sum())
        + (gammaln(prior + n) - gammaln(prior)).sum()
        - (n * np.log(theta)).sum()
    )
    return float(min(1.0, math.exp(-min(max(log_factor, -700.0), 700.0))))
