"""`rating_report` and `paired_difference`, the exports, and refused input."""

import doctest
import importlib
import json
import math
import pkgutil

import numpy as np
import pytest

import twotower.metrics
from twotower.errors import ConfigError, DataError
from twotower.metrics import (
    RATING_METRICS,
    Interval,
    group_users,
    mae,
    paired_difference,
    r2,
    rating_report,
    rmse,
    user_statistics,
    xauc,
    xauc_by_user,
    xauc_per_user,
)

PLAIN = ["mae", "rmse", "r2", "xauc", "xauc_by_user"]
CAPPED = ["mae_capped", "rmse_capped", "r2_capped"]


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(0)
    user = rng.integers(0, 50, 800) * 7
    label = rng.lognormal(0, 1, 800)
    return user, label, label + rng.normal(0, 1, 800)


def test_values_are_those_of_the_plain_metrics_on_all_rows(columns):
    user, y, p = columns
    report = rating_report(user, y, p, cap=2.0, resamples=50)
    assert list(report) == PLAIN + CAPPED
    yc, pc = np.minimum(y, 2.0), np.minimum(p, 2.0)
    expected = [mae(y, p), rmse(y, p), r2(y, p), xauc(y, p), xauc_by_user(user, y, p)]
    expected += [mae(yc, pc), rmse(yc, pc), r2(yc, pc)]
    np.testing.assert_allclose([interval.value for interval in report.values()], expected, rtol=1e-12)
    assert all(interval.low < interval.value < interval.high for interval in report.values())


def test_without_a_cap_there_is_no_capped_metric(columns):
    assert list(rating_report(*columns, cap=None, resamples=5)) == PLAIN


def test_every_metric_declares_its_direction():
    assert list(RATING_METRICS) == PLAIN + CAPPED
    higher = {name for name, metric in RATING_METRICS.items() if metric.higher_is_better}
    assert higher == {"r2", "xauc", "xauc_by_user", "r2_capped"}
    assert all(metric.name == name for name, metric in RATING_METRICS.items())
    assert RATING_METRICS["r2"].better(0.2, than=0.1)
    assert not RATING_METRICS["mae"].better(math.nan, than=0.1)


def test_the_seed_decides_and_the_order_of_rows_does_not(columns):
    report = rating_report(*columns, cap=2.0, resamples=100, seed=3)
    assert report == rating_report(*columns, cap=2.0, resamples=100, seed=3)
    assert report != rating_report(*columns, cap=2.0, resamples=100, seed=4)
    order = np.random.default_rng(1).permutation(800)
    permuted = rating_report(*[column[order] for column in columns], cap=2.0, resamples=100, seed=3)
    for name, interval in report.items():
        assert permuted[name].as_dict() == pytest.approx(interval.as_dict(), rel=1e-9)


def test_a_higher_level_gives_a_wider_interval(columns):
    narrow = rating_report(*columns, cap=None, level=0.5)
    wide = rating_report(*columns, cap=None, level=0.99)
    assert all(wide[name].low < narrow[name].low < narrow[name].high < wide[name].high for name in PLAIN)


def test_the_difference_of_equal_predictions_is_zero(columns):
    user, y, p = columns
    for interval in paired_difference(user, y, p, p.copy(), cap=2.0, resamples=50).values():
        assert interval.value == 0
        assert interval.low == pytest.approx(0, abs=1e-12)
        assert interval.high == pytest.approx(0, abs=1e-12)


def test_the_difference_is_a_minus_b_and_tighter_than_either(columns):
    user, y, p = columns
    worse = p + np.random.default_rng(2).normal(0, 0.3, 800)
    difference = paired_difference(user, y, worse, p, cap=None)
    a, b = rating_report(user, y, worse, cap=None), rating_report(user, y, p, cap=None)
    for name in PLAIN:
        assert difference[name].value == a[name].value - b[name].value
        assert difference[name].high - difference[name].low < a[name].high - a[name].low
    assert difference["mae"].low > 0
    assert difference["xauc"].high < 0


def test_a_perfect_prediction(columns):
    user, y, _ = columns
    report = rating_report(user, y, y, cap=2.0, resamples=50)
    for name, interval in report.items():
        best = 1.0 if RATING_METRICS[name].higher_is_better else 0.0
        assert interval == Interval(best, best, best), name


def test_constant_labels_are_nan_and_null_in_json():
    report = rating_report([1, 1, 2, 2], [0.1] * 4, [1.0, 2, 3, 4], cap=None, resamples=20)
    as_json = json.loads(json.dumps({k: v.as_dict() for k, v in report.items()}, allow_nan=False))
    for name in ("r2", "xauc", "xauc_by_user"):
        assert as_json[name] == {"value": None, "low": None, "high": None}
    assert as_json["mae"]["value"] == pytest.approx(2.4)
    assert Interval(-math.inf, 0.0, math.nan).as_dict() == {"value": None, "low": 0.0, "high": None}


def test_sparse_dense_and_negative_ids_group_alike():
    dense = group_users(np.array([2, 0, 2, 1], dtype=np.int32))
    assert dense.ids.tolist() == [0, 1, 2]
    assert dense.code.tolist() == [2, 0, 2, 1]
    sparse = group_users([10**15, -(10**15), 10**15, 4])
    assert sparse.ids.tolist() == [-(10**15), 4, 10**15]
    assert sparse.code.tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize(
    ("user", "label", "prediction", "message"),
    [
        ([1, 2], [1.0, 2.0], [1.0], r"prediction must have one value per row; got 1 for 2 rows"),
        ([1, 2, 3], [1.0, 2.0], [1.0, 2.0], r"label must have one value per row; got 2 for 3 rows"),
        ([], [], [], r"user must have at least one row; got 0"),
        ([1, 2], [1.0, math.nan], [1.0, 2.0], r"label must be finite; got nan in row 1 \(1 such rows of 2\)"),
        ([1, 2], [1.0, 2.0], [math.inf, 2.0], r"prediction must be finite; got inf in row 0"),
        ([1.5, 2.0], [1.0, 2.0], [1.0, 2.0], r"user must contain integers; got dtype float64"),
        ([1, 2], ["a", "b"], [1.0, 2.0], r"label must contain numbers; got dtype <U1"),
        ([1, 2], [[1.0], [2.0]], [1.0, 2.0], r"label must have one dimension; got shape \(2, 1\)"),
    ],
)
def test_wrong_columns_are_refused(user, label, prediction, message):
    with pytest.raises(DataError, match=message):
        rating_report(user, label, prediction, cap=None)


def test_other_refusals():
    with pytest.raises(DataError, match="label must have at least one row; got 0"):
        xauc([], [])
    with pytest.raises(DataError, match="prediction must have one value per row; got 3 for 2 rows"):
        mae([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="user must have one value per row; got 1 for 2 rows"):
        xauc_per_user([1], [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(DataError, match=r"weight must not be negative; got -1\.0 in row 1"):
        rmse([1.0, 2.0], [1.0, 2.0], [1.0, -1.0])
    with pytest.raises(DataError, match="weight must have at least one positive value"):
        r2([1.0, 2.0], [1.0, 2.0], [0, 0])
    with pytest.raises(ConfigError, match="cap must be finite; got nan"):
        rating_report([1, 2], [1.0, 2.0], [1.0, 2.0], cap=math.nan)
    groups = group_users([1, 2])
    with pytest.raises(DataError, match="where must select at least one row; it selects 0 of 2"):
        user_statistics(groups, [1.0, 2.0], [1.0, 2.0], cap=None, where=[False, False])
    with pytest.raises(DataError, match="where must be a boolean mask; got dtype int64"):
        user_statistics(groups, [1.0, 2.0], [1.0, 2.0], cap=None, where=[0, 1])


def test_exports_exist_and_docstring_examples_are_true():
    assert all(hasattr(twotower.metrics, name) for name in twotower.metrics.__all__)
    examples = 0
    for module in pkgutil.iter_modules(twotower.metrics.__path__, "twotower.metrics."):
        result = doctest.testmod(importlib.import_module(module.name))
        assert result.failed == 0, module.name
        examples += result.attempted
    assert examples >= 6
