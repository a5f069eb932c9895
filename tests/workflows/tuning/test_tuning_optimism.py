"""The correction of selection bias: against a loop in plain Python, and where the true gain is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twotower.evaluation.validator import NDCG, RMSE
from twotower.metrics.bootstrap import user_draws
from twotower.workflows.tuning import corrected_gain


def by_hand(totals, counts, measure, resamples, seed):
    """The same estimate by loops over draws and trials."""

    def worth(trial, weight):
        total = sum(w * t for w, t in zip(weight, totals[trial], strict=True))
        count = sum(w * c for w, c in zip(weight, counts, strict=True))
        return -math.sqrt(total / count) if measure is RMSE else total / count

    gains = []
    for block in user_draws(len(counts), resamples, seed):
        for drawn in block:
            left = [float(times == 0) for times in drawn]
            chosen = max(range(len(totals)), key=lambda trial, w=drawn: worth(trial, w))
            gains.append(worth(chosen, left) - worth(0, left))
    return gains


@pytest.mark.parametrize("measure", [NDCG, RMSE], ids=["ndcg", "rmse"])
def test_as_by_hand(measure) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 5, 30).astype(float) if measure is RMSE else np.ones(30)
    totals = rng.uniform(0.2, 1.0, (6, 30)) * counts
    gain = corrected_gain(totals, counts, measure, resamples=100, seed=3)
    expected = by_hand(totals.tolist(), counts.tolist(), measure, 100, 3)
    assert gain.corrected.value == pytest.approx(np.mean(expected))
    low, high = np.quantile(expected, [0.025, 0.975])
    assert (gain.corrected.low, gain.corrected.high) == pytest.approx((low, high))
    whole = measure.of(totals.sum(axis=1), counts.sum())
    best = whole.min() if measure is RMSE else whole.max()
    assert gain.apparent == pytest.approx(abs(best - whole[0]))
    assert gain.optimism == pytest.approx(gain.apparent - gain.corrected.value)


def test_of_noise_nothing_is_left_and_of_a_true_gain_nearly_all() -> None:
    """Means over 40 searches of 30 trials each with known true gains and the given spread."""
    rng = np.random.default_rng(0)
    left, looked, true_left = [], [], []
    for seed in range(40):
        noise = 0.5 + rng.normal(0.0, 0.1, (30, 400))
        gain = corrected_gain(noise, np.ones(400), NDCG, resamples=100, seed=seed)
        looked.append(gain.apparent)
        left.append(gain.corrected.value)
        noise[7] += 0.05  # ten standard errors: it is always chosen
        true_left.append(corrected_gain(noise, np.ones(400), NDCG, resamples=100, seed=seed).corrected.value)
    error = 0.1 * math.sqrt(2 / 400 / 40)  # of a mean of 40 gains
    # the maximum of 30 normal draws is 2.04 standard deviations above the mean on average
    assert np.mean(looked) == pytest.approx(2.04 * 0.1 / math.sqrt(400), abs=3 * error)
    assert np.mean(left) == pytest.approx(0.0, abs=3 * error)
    assert np.mean(true_left) == pytest.approx(0.05, abs=3 * error)


def test_with_one_trial_there_is_nothing_to_gain() -> None:
    gain = corrected_gain(np.full((1, 10), 0.5), np.ones(10), NDCG, resamples=100)
    assert (gain.apparent, gain.optimism, gain.corrected.value) == (0.0, 0.0, 0.0)
    assert gain.chosen_again == 1.0


def test_with_one_user_nothing_can_be_told() -> None:
    gain = corrected_gain(np.array([[0.5], [0.9]]), np.ones(1), NDCG, resamples=100)
    assert gain.apparent == pytest.approx(0.4)
    assert gain.corrected.value == 0.0  # no user is left to measure on: no gain is reported
    assert math.isnan(gain.corrected.low)
