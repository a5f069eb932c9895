"""Directions of metrics, and what a difference says."""

from __future__ import annotations

import math

import pytest

from twotower.metrics import RANKING_METRICS, RATING_METRICS, higher_is_better, verdict_on


def test_every_metric_has_its_own_direction() -> None:
    for name, metric in RATING_METRICS.items():
        assert higher_is_better(name) is metric.higher_is_better
    for name, metric in RANKING_METRICS.items():
        assert higher_is_better(f"{name}@10") is metric.higher_is_better


def test_your_own_directions_come_first() -> None:
    assert higher_is_better("mine") is None
    assert higher_is_better("mine", {"mine": False}) is False
    assert higher_is_better("ndcg@10", {"ndcg@10": None}) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "if_higher", "if_lower"),
    [
        (0.2, 0.1, 0.3, "better", "worse"),
        (-0.2, -0.3, -0.1, "worse", "better"),
        (0.2, -0.1, 0.5, "unclear", "unclear"),
        (0.2, 0.0, 0.5, "unclear", "unclear"),
        (-0.2, -0.5, 0.0, "unclear", "unclear"),
        (0.0, 0.0, 0.0, "same", "same"),
        (0.2, math.nan, math.nan, "unclear", "unclear"),
        (0.2, None, None, "unclear", "unclear"),
        (None, None, None, "unclear", "unclear"),
    ],
)
def test_a_difference_decides_if_its_interval_excludes_0(
    value: float | None, low: float | None, high: float | None, if_higher: str, if_lower: str
) -> None:
    assert verdict_on(value, low, high, higher_is_better=True) == if_higher
    assert verdict_on(value, low, high, higher_is_better=False) == if_lower
