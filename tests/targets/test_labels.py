"""Label transforms and targets, and their inverses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from twotower.errors import ConfigError, DataError
from twotower.targets.duration_rank import DurationRank
from twotower.targets.registry import TRANSFORMS
from twotower.targets.target import Target

labels = st.lists(st.floats(0.0, 1e4, allow_nan=False, width=32), min_size=2, max_size=40).map(np.array)


@settings(deadline=None)
@given(labels, st.sampled_from(["none", "log1p", "standardise"]))
def test_inverse_undoes_forward(label: np.ndarray, name: str) -> None:
    transform = TRANSFORMS.get(name).fit(label)
    npt.assert_allclose(transform.inverse(transform.forward(label)), label, rtol=1e-9, atol=1e-7)


@settings(deadline=None)
@given(labels, st.floats(-10.0, 1e4))
def test_a_cap_is_undone_up_to_the_cap(label: np.ndarray, cap: float) -> None:
    transform = TRANSFORMS.get("cap").fit(label, cap=cap)
    expected = [min(y, cap) for y in label]
    npt.assert_array_equal(transform.forward(label), expected)
    npt.assert_array_equal(transform.inverse(transform.forward(label)), expected)
    npt.assert_array_equal(transform.inverse(label), expected)


@settings(deadline=None)
@given(labels, st.sampled_from(["none", "cap", "log1p", "standardise"]))
def test_forward_keeps_the_order(label: np.ndarray, name: str) -> None:
    values = TRANSFORMS.get(name).fit(label, cap=50.0 if name == "cap" else None).forward(label)
    order = np.argsort(label, kind="stable")
    assert (np.diff(values[order]) >= 0).all()


def test_values_by_hand() -> None:
    label = np.array([0.0, 1.0, 3.0])
    npt.assert_allclose(TRANSFORMS.get("log1p").fit(label).forward(label), [0, math.log(2), math.log(4)])
    spread = math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 3)
    npt.assert_allclose(
        TRANSFORMS.get("standardise").fit(label).forward(label), np.array([-4 / 3, -1 / 3, 5 / 3]) / spread
    )
    assert TRANSFORMS.get("log1p").fit(label).inverse(np.array([-3.0])).tolist() == [0.0]


def test_a_constant_label_is_standardised_without_dividing_by_0() -> None:
    transform = TRANSFORMS.get("standardise").fit(np.full(4, 2.0))
    assert transform.forward(np.full(2, 2.0)).tolist() == [0.0, 0.0]


def test_negative_labels_have_no_logarithm() -> None:
    with pytest.raises(DataError, match=r"'log1p' needs labels of at least 0; got -0\.5"):
        TRANSFORMS.get("log1p").fit(np.array([1.0, -0.5]))
    fitted = TRANSFORMS.get("log1p").fit(np.array([1.0]))
    with pytest.raises(DataError, match="at least 0"):
        fitted.forward(np.array([-0.5]))


@pytest.mark.parametrize(
    ("name", "message"),
    [("standardize", "Did you mean 'standardise'"), ("durationrank", "Did you mean 'duration_rank'")],
)
def test_an_unknown_name_says_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TRANSFORMS.get(name).fit(np.ones(2))


def test_what_a_transform_needs() -> None:
    with pytest.raises(ConfigError, match=r"set objective\.cap"):
        TRANSFORMS.get("cap").fit(np.ones(2))
    with pytest.raises(ConfigError, match=r"set schema\.duration"):
        TRANSFORMS.get("duration_rank").fit(np.ones(2))
    with pytest.raises(DataError, match="every duration in the training set is missing"):
        TRANSFORMS.get("duration_rank").fit(np.ones(2), np.full(2, np.nan))
    fitted = TRANSFORMS.get("duration_rank").fit(np.ones(2), np.ones(2))
    with pytest.raises(DataError, match="needs the duration of each row"):
        fitted.forward(np.ones(2))


# the duration-debiased rank


def bucketed(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    duration = rng.choice([5.0, 10.0, 20.0], n)
    return rng.gamma(2.0, duration), duration


def test_ranks_are_those_within_the_bucket() -> None:
    label, duration = bucketed(600)
    transform = DurationRank.fit(label, duration, buckets=3)
    target = transform.forward(label, duration)
    for value in (5.0, 10.0, 20.0):
        rows = duration == value
        expected = (stats.rankdata(label[rows]) - 1) / (rows.sum() - 1)
        npt.assert_allclose(target[rows], expected, atol=1.01 / 200)
    assert target.min() >= 0.0
    assert target.max() <= 1.0


def test_ties_get_the_middle_of_their_ranks() -> None:
    # of 1001 labels 300 are 0: they span the ranks 0 to 0.299, and the grid of 201 points sees 0 to 0.295
    label = np.concatenate([np.zeros(300), np.arange(1.0, 702.0)])
    transform = DurationRank.fit(label, np.ones(1001), buckets=4)
    target = transform.forward(label, np.ones(1001))
    expected = (stats.rankdata(label) - 1) / 1000
    npt.assert_allclose(target, expected, atol=1.01 / 200)
    assert len(set(target[:300])) == 1


def test_rows_without_a_duration_are_ranked_among_all() -> None:
    label, duration = bucketed(600)
    transform = DurationRank.fit(label, duration, buckets=3)
    target = transform.forward(label, np.full(600, np.nan))
    npt.assert_allclose(target, (stats.rankdata(label) - 1) / 599, atol=1.01 / 200)


def test_ranks_come_back_as_labels_of_their_bucket() -> None:
    label, duration = bucketed(600)
    transform = DurationRank.fit(label, duration, buckets=3)
    asked = np.array([5.0, 5.0, 20.0, 20.0, np.nan])
    rank = np.array([0.5, 1.0, 0.5, 0.0, 0.25])
    short, long = label[duration == 5.0], label[duration == 20.0]
    expected = [np.median(short), short.max(), np.median(long), long.min(), np.quantile(label, 0.25)]
    npt.assert_allclose(transform.inverse(rank, asked), expected, rtol=1e-9)
    back = transform.inverse(transform.forward(label, duration), duration)
    assert np.corrcoef(back, label)[0, 1] > 0.999
    npt.assert_allclose(np.median(np.abs(back - label)), 0.0, atol=0.2)


def test_new_durations_fall_into_the_bucket_around_them() -> None:
    label, duration = bucketed(600)
    transform = DurationRank.fit(label, duration, buckets=3)
    half = np.full(4, 0.5)
    near = transform.inverse(half, np.array([1.0, 7.0, 13.0, 500.0]))
    assert near[0] == near[1] == np.median(label[duration == 5.0])
    assert near[2] == np.median(label[duration == 10.0])
    assert near[3] == np.median(label[duration == 20.0])


# target


@pytest.mark.parametrize("name", ["none", "cap", "log1p", "standardise", "duration_rank"])
@pytest.mark.parametrize("logistic", [False, True])
def test_targets_come_back_from_their_saved_form(name: str, logistic: bool) -> None:
    rng = np.random.default_rng(0)
    label, duration = rng.uniform(0, 1, 50), rng.uniform(5, 9, 50)
    cap = 0.7 if name == "cap" else None
    target = Target.fit(label, duration, transform=name, cap=cap, logistic=logistic)
    again = Target.from_state(json.loads(json.dumps(target.state())))
    score = rng.normal(size=50).astype(np.float32)
    npt.assert_array_equal(again.forward(label, duration), target.forward(label, duration))
    npt.assert_array_equal(again.inverse(score, duration), target.inverse(score, duration))
    assert (again.mean, again.sd, again.base) == (target.mean, target.sd, target.base)


def fit(label: Any, **settings: Any) -> Target:
    return Target.fit(
        np.asarray(label, float), None, **{"transform": "none", "cap": None, "logistic": False, **settings}
    )


def test_train_targets_are_standardised() -> None:
    target = fit([1.0, 2.0, 6.0])
    forward = target.forward(np.array([1.0, 2.0, 6.0]), None)
    assert forward.dtype == np.float32
    assert forward.mean() == pytest.approx(0.0, abs=1e-6)
    assert forward.std() == pytest.approx(1.0, rel=1e-6)
    npt.assert_allclose(forward.astype(float) * target.sd + target.mean, [1, 2, 6], rtol=1e-6)


def test_predictions_stay_within_train_labels() -> None:
    target = fit([1.0, 2.0, 6.0])
    assert target.inverse(np.array([-9.0, 3.5, 99.0], np.float32), None).tolist() == [1.0, 3.5, 6.0]


def test_a_constant_label_is_predicted_as_it_is() -> None:
    target = fit([3.0, 3.0])
    assert target.forward(np.array([3.0]), None).tolist() == [0.0]
    assert target.inverse(np.array([3.0], np.float32), None).tolist() == [3.0]


def test_the_logistic_base_is_the_logit_of_the_mean_label() -> None:
    target = fit([0.0, 0.0, 0.0, 1.0], logistic=True)
    assert target.base == pytest.approx(math.log(0.25 / 0.75))
    assert target.inverse(np.array([target.base], np.float32), None)[0] == pytest.approx(0.25, rel=1e-6)
    npt.assert_array_equal(target.forward(np.array([0.0, 1.0]), None), [0, 1])
    assert math.isfinite(fit([1.0, 1.0], logistic=True).base)
    with np.errstate(all="raise"):
        assert target.inverse(np.array([-2000, 2000], np.float32), None).tolist() == [0.0, 1.0]
