"""Scores as policies, against what the definitions say of each user alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twotower.errors import ConfigError
from twotower.evaluation import ListPolicy, SoftmaxPolicy

SCORES = arrays(
    float, (3, 7), elements=st.one_of(st.just(-math.inf), st.integers(-3, 3).map(float))
)  # many ties


@given(SCORES, st.integers(1, 9))
def test_a_list_is_the_first_k_of_a_stable_sort_each_as_likely(scores: np.ndarray, k: int) -> None:
    found = ListPolicy(k).probabilities(scores)
    for user, row in enumerate(scores):
        ranked = [item for item in sorted(range(7), key=lambda i: -row[i]) if row[item] > -math.inf][:k]
        expected = [1 / len(ranked) if item in ranked else 0.0 for item in range(7)]
        np.testing.assert_allclose(found[user], expected)


@given(SCORES, st.sampled_from([0.01, 0.3, 5.0]))
def test_a_softmax_is_that_of_standardised_scores(scores: np.ndarray, temperature: float) -> None:
    found = SoftmaxPolicy(temperature).probabilities(scores)
    for user, row in enumerate(scores):
        there = [score for score in row if score > -math.inf]
        if not there:
            assert not found[user].any()
            continue
        spread = np.std(there) or 1.0
        powers = [math.exp((s - max(there)) / (temperature * spread)) for s in row]
        np.testing.assert_allclose(found[user], np.array(powers) / sum(powers), atol=1e-12)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        ListPolicy(0)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="temperature must be a number above 0"):
            SoftmaxPolicy(wrong)
