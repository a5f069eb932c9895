"""Ratios of sums over users, against the jackknife and by how often the intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twotower.errors import ConfigError
from twotower.metrics.ratios import ratio_interval


def test_the_value_is_a_ratio_of_sums_and_a_difference_of_two() -> None:
    top, bottom = np.array([3.0, 1.0, 2.0]), np.array([2.0, 4.0, 6.0])
    assert ratio_interval((top, bottom)) == pytest.approx(0.5)
    assert ratio_interval((top, bottom), (np.ones(3), bottom)) == pytest.approx(0.5 - 3 / 12)


def test_an_interval_is_as_wide_as_the_jackknife_says() -> None:
    rng = np.random.default_rng(0)
    bottom = rng.integers(1, 9, 400).astype(float)
    top = bottom * rng.normal(2.0, 0.5, 400)
    other = bottom * rng.normal(1.5, 0.5, 400) + 0.5 * top
    left_out = [
        np.delete(top, i).sum() / np.delete(bottom, i).sum()
        - np.delete(other, i).sum() / np.delete(bottom, i).sum()
        for i in range(400)
    ]
    error = math.sqrt(399 / 400 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    found = ratio_interval((top, bottom), (other, bottom), resamples=4000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_intervals_of_skewed_sums_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held, below = np.random.default_rng(1), 0, 0
    for seed in range(120):
        top = rng.lognormal(0.0, 1.2, 80)
        found = ratio_interval((top, np.ones(80)), resamples=100, seed=seed)
        held += found.low <= math.exp(0.72) <= found.high
        below += found.high < math.exp(0.72)
    assert held >= 0.9 * 120  # a percentile interval holds it in about 86%
    assert below <= 0.09 * 120


def test_what_has_no_interval_says_so() -> None:
    one = ratio_interval((np.array([2.0]), np.array([4.0])))
    assert one == 0.5
    assert math.isnan(one.low)
    assert math.isnan(ratio_interval((np.ones(3), np.zeros(3))))
    alike = ratio_interval((np.full(5, 3.0), np.ones(5)))
    assert (alike.low, alike.high) == (3.0, 3.0)
    with pytest.raises(ConfigError, match="level must lie between 0 and 1"):
        ratio_interval((np.ones(3), np.ones(3)), level=95)
