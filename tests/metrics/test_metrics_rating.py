"""MAE, RMSE and R2 against scikit-learn, cases by hand and mathematical properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from twotower.metrics import mae, r2, rmse

numbers = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))
columns = st.integers(2, 30).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=numbers)] * 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn(dtype, weighted):
    rng = np.random.default_rng(0)
    y = rng.lognormal(size=500).astype(dtype)
    p = (y + rng.normal(size=500)).astype(dtype)
    w = rng.integers(0, 4, 500) if weighted else None
    wide_y, wide_p = y.astype(np.float64), p.astype(np.float64)
    assert mae(y, p, w) == pytest.approx(mean_absolute_error(wide_y, wide_p, sample_weight=w), rel=1e-12)
    assert rmse(y, p, w) == pytest.approx(root_mean_squared_error(wide_y, wide_p, sample_weight=w), rel=1e-12)
    assert r2(y, p, w) == pytest.approx(r2_score(wide_y, wide_p, sample_weight=w), rel=1e-12)


def test_by_hand():
    y, p = [0.0, 2.0, 4.0], [1.0, 2.0, 2.0]
    assert mae(y, p) == 1.0
    assert rmse(y, p) == math.sqrt(5 / 3)
    assert r2(y, p) == 1 - 5 / 8


def test_a_weight_is_a_number_of_copies():
    y, p = np.array([1.0, 2.0, 5.0]), np.array([1.5, 1.0, 9.0])
    copies = np.array([3, 1, 2])
    for metric in (mae, rmse, r2):
        repeated = metric(np.repeat(y, copies), np.repeat(p, copies))
        assert metric(y, p, copies) == pytest.approx(repeated, rel=1e-14)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_r2_of_a_constant_label_is_nan(constant):
    label = np.full(7, constant)
    assert math.isnan(r2(label, label))
    assert math.isnan(r2(label, label + 1))
    assert math.isnan(r2([constant, 5.0], [0.0, 0.0], [1.0, 0.0]))  # the only other label has weight 0


def test_float32_is_summed_in_float64():
    error = np.full(2**20 + 1, 0.1, dtype=np.float32)  # a float32 sum would be off by about 1e-7
    assert mae(np.zeros_like(error), error) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@given(columns)
@settings(max_examples=60, deadline=None)
def test_a_perfect_prediction(pair):
    y, _ = pair
    assert mae(y, y) == 0
    assert rmse(y, y) == 0
    assert np.ptp(y) == 0 or r2(y, y) == 1


@given(columns, numbers, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_laws_of_shift_scale_and_order(pair, shift, random):
    y, p = pair
    order = list(range(y.size))
    random.shuffle(order)
    for metric in (mae, rmse, r2):
        value = metric(y, p)
        assert metric(y + shift, p + shift) == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True)
        assert metric(y[order], p[order]) == pytest.approx(value, rel=1e-9, nan_ok=True)
    assert mae(3 * y, 3 * p) == pytest.approx(3 * mae(y, p))
    assert rmse(3 * y, 3 * p) == pytest.approx(3 * rmse(y, p))
    assert r2(3 * y, 3 * p) == pytest.approx(r2(y, p), nan_ok=True)
    assert mae(y, y + shift) == pytest.approx(abs(shift))
    assert rmse(y, p) >= mae(y, p) * (1 - 1e-12)


def test_the_mean_of_the_labels_has_r2_of_zero():
    y = np.array([1.0, 2.0, 6.0])
    assert r2(y, np.full(3, y.mean())) == pytest.approx(0, abs=1e-15)
