"""Confidence sequences and the check of a split: against definitions, and by false alarms under peeking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from twotower.errors import ConfigError
from twotower.metrics.sequential import LEAST, mean_difference, split_p_value


def groups(n: int, m: int, lift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.5, 4.0, n)) + lift, rng.poisson(rng.gamma(0.5, 4.0, m)).astype(float)


def of_difference(one: np.ndarray, other: np.ndarray) -> float:
    return math.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))


def test_the_p_value_is_one_over_the_mixture_of_likelihood_ratios() -> None:
    # As the mixture SPRT defines it: the mean difference is normal around a difference d, which is itself
    # normal around 0; the likelihood ratio of that against d = 0, by numerical integration.
    one, other = groups(700, 500, lift=0.25)
    found = mean_difference(one, other, planned=2000)
    n = 1200
    error = of_difference(one, other)
    log_alpha = -2 * math.log(0.05)
    tau = math.sqrt((log_alpha + math.log(log_alpha) + 1) / 2000) * error * math.sqrt(n)  # sd of d
    seen = one.mean() - other.mean()

    def mixed(d: float) -> float:
        return stats.norm.pdf(seen, d, error) * stats.norm.pdf(d, 0, tau)

    ratio = integrate.quad(mixed, -20 * tau, 20 * tau, points=[0.0, seen])[0] / stats.norm.pdf(seen, 0, error)
    assert found.p == pytest.approx(min(1.0, 1.0 / ratio), rel=1e-5)
    assert found.value == pytest.approx(seen)


def test_the_bounds_exclude_what_the_p_value_refuses() -> None:
    one, other = groups(600, 900)
    value = mean_difference(one, other).value
    for bound, sign in ((value.low, 1e-6), (value.high, -1e-6)):
        assert mean_difference(one - bound - sign, other).p > 0.05
        assert mean_difference(one - bound + sign, other).p < 0.05


def test_peeking_raises_no_more_false_alarms_than_it_says_and_a_difference_is_found() -> None:
    alarms = naive = found = 0
    for seed in range(120):
        one, other = groups(2000, 2000, seed=seed)
        looks = range(LEAST, 2001, 100)
        results = [mean_difference(one[:n], other[:n], planned=4000) for n in looks]
        alarms += any(result.p < 0.05 for result in results)
        naive += any(
            abs(one[:n].mean() - other[:n].mean()) > 1.96 * of_difference(one[:n], other[:n]) for n in looks
        )
        found += any(mean_difference(one[:n] + 0.6, other[:n], planned=4000).p < 0.05 for n in looks)
    assert alarms <= 0.05 * 120 + 3
    assert naive >= 0.15 * 120  # what it protects from
    assert found >= 0.9 * 120


def test_too_little_is_no_interval() -> None:
    one, other = groups(LEAST - 1, 500)
    result = mean_difference(one, other)
    assert result.value == pytest.approx(one.mean() - other.mean())
    assert math.isnan(result.value.low)
    assert math.isnan(result.p)
    assert math.isnan(mean_difference(np.zeros(0), other).value)
    assert math.isnan(mean_difference(np.ones(200), np.ones(200)).value.low)
    with pytest.raises(ConfigError, match="level must lie between 0 and 1"):
        mean_difference(one, other, level=95)
    with pytest.raises(ConfigError, match="planned must be"):
        mean_difference(one, other, planned=0)


def test_a_split_is_refused_if_it_is_wrong_and_rarely_if_it_is_right() -> None:
    rng = np.random.default_rng(0)
    shares = [0.9, 0.1]
    alarms = 0
    for _ in range(300):
        counts = np.cumsum(rng.multinomial(50, shares, 60), axis=0)
        alarms += any(split_p_value(row, shares) < 0.05 for row in counts.tolist())
    assert alarms <= 0.05 * 300 + 5
    assert split_p_value([8_700, 1_300], shares) < 1e-6
    assert split_p_value([9_000, 1_000], shares) == 1.0
    # The Bayes factor by integration over the share.
    n, m = 430, 80

    def mixed(p: float) -> float:
        return stats.beta.pdf(p, 90, 10) * stats.binom.pmf(n, n + m, p)

    factor = integrate.quad(mixed, 0, 1, points=[n / (n + m)])[0] / stats.binom.pmf(n, n + m, 0.9)
    assert split_p_value([n, m], shares) == pytest.approx(min(1.0, 1 / factor), rel=1e-6)
