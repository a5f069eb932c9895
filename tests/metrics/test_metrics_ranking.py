"""Ranking metrics against plain Python, scikit-learn, cases by hand and mathematical properties."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.metrics import (
    RANKING_METRICS,
    Interval,
    average_precision,
    hit_rate,
    list_means,
    mean_differences,
    mean_intervals,
    ndcg,
    popularity_percentile,
    precision,
    ranking_values,
    recall,
    reciprocal_rank,
    self_information,
    user_draws,
    user_means,
)
from twotower.metrics.ranking_lists import checked_lists

N_ITEMS = 12


def padded(lists, width):
    return np.array([[*of, *[-1] * (width - len(of))] for of in lists], dtype=np.int32)


def test_by_hand():
    """Users with hits at 2 and 3 of 3 relevant items; no hit; an empty list; no relevant items."""
    lists = np.array([[5, 0, 1, 7], [2, 3, -1, -1], [-1, -1, -1, -1], [4, 5, 6, 7]])
    relevant = Lists.from_groups([[0, 1, 9], [0], [3, 4], []])
    at = {k: 1 / math.log2(k + 1) for k in (1, 2, 3)}
    nan = math.nan
    expected = {
        "recall": [2 / 3, 0, 0, nan],
        "hit_rate": [1, 0, 0, nan],
        "precision": [2 / 4, 0, 0, nan],
        "ndcg": [(at[2] + at[3]) / (at[1] + at[2] + at[3]), 0, 0, nan],
        "map": [(1 / 2 + 2 / 3) / 3, 0, 0, nan],
        "mrr": [1 / 2, 0, 0, nan],
    }
    found = ranking_values(lists, relevant, [4])
    for name, values in expected.items():
        np.testing.assert_allclose(found[f"{name}@4"], values, err_msg=name)
    # Recall divides by all 3 relevant items, average precision by the 2 that fit.
    assert recall(lists, relevant, 2)[0] == pytest.approx(1 / 3)
    assert average_precision(lists, relevant, 2)[0] == pytest.approx((1 / 2) / 2)
    assert reciprocal_rank(lists, relevant, 1)[0] == 0.0  # the hit at 2 is beyond the cut-off


def test_each_function_is_its_column():
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(N_ITEMS)[:6] for _ in range(20)])
    relevant = Lists.from_groups([rng.permutation(N_ITEMS)[:3] for _ in range(20)])
    found = ranking_values(lists, relevant, (2, 6))
    functions = {
        "recall": recall,
        "hit_rate": hit_rate,
        "precision": precision,
        "ndcg": ndcg,
        "map": average_precision,
        "mrr": reciprocal_rank,
    }
    assert set(functions) == set(RANKING_METRICS)
    for (name, function), k in itertools.product(functions.items(), (2, 6)):
        np.testing.assert_array_equal(function(lists, relevant, k), found[f"{name}@{k}"])
        assert function(lists, relevant, k).std() > 0


def test_ndcg_is_scikit_learns():
    """With many users, so that every thread has some."""
    rng = np.random.default_rng(1)
    n_users, n_items, width = 300, 40, 15
    scores = rng.normal(size=(n_users, n_items))
    truth = rng.random((n_users, n_items)) < rng.uniform(0.03, 0.6, size=(n_users, 1))
    truth[:, 0] |= ~truth.any(axis=1)
    lists = np.argsort(-scores, axis=1)[:, :width]
    relevant = Lists.from_groups([np.flatnonzero(row) for row in truth])
    for k in (1, 5, 15):
        expected = [
            ndcg_score(t[None].astype(float), s[None], k=k) for t, s in zip(truth, scores, strict=True)
        ]
        np.testing.assert_allclose(ndcg(lists, relevant, k), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0, 1, 0]], "item 0 twice.*user row 0, position 3"),
        ([[0, 1, 2], [3, -1, 1]], "item 1 after a -1.*user row 1, position 3"),
        ([[0, 1, -2]], "-2"),
        ([[0.0, 1.0, 2.0]], "float64"),
        ([0, 1, 2], r"\(3,\)"),
    ],
)
def test_invalid_lists_are_refused(lists, message):
    with pytest.raises(DataError, match=message):
        ranking_values(np.array(lists), Lists.from_groups([[1]] * len(lists)), [1])


def test_barred_and_unknown_items_are_refused():
    barred = Lists.from_groups([[4], [0, 1]])
    lists = np.array([[0, 1, 2], [2, 4, 1]])
    with pytest.raises(DataError, match=r"the lists of 'x'.*excluded.*item 1 \(user row 1, position 3\)"):
        checked_lists("the lists of 'x'", lists, 5, barred)
    np.testing.assert_array_equal(checked_lists("lists", lists, 5, Lists.from_groups([[4], [0, 3]])), lists)
    # 2^32 would become item 0 if it were converted to 32 bits before the check.
    for wrong in (5, 1 << 32):
        with pytest.raises(DataError, match=f"rows of the 5 items.*got {wrong} .user row 0, position 2"):
            checked_lists("lists", np.array([[0, wrong]]), 5)


def test_many_lists_are_all_checked():
    """One fault among many users, at any position, and the first of two."""
    lists = np.tile(np.arange(5, dtype=np.int32), (200, 1))
    for user in (0, 57, 199):
        wrong = lists.copy()
        wrong[user, 4] = 2
        wrong[199, 1] = 0
        with pytest.raises(DataError, match=f"twice .user row {user},"):
            checked_lists("lists", wrong, 5)


@pytest.mark.parametrize(
    ("relevant", "message"),
    [
        (([0, 2], [3, 3]), "item 3 twice for user row 0"),
        (([0, 1], [-1]), "-1"),
        (([0, 1, 1], [3]), "3,"),
        (([0, 2], [3]), "for 1 item"),
    ],
)
def test_relevant_items_that_do_not_fit_are_refused(relevant, message):
    with pytest.raises(DataError, match=message):
        ranking_values(np.array([[0, 1]]), tuple(np.array(of) for of in relevant), [1])


@pytest.mark.parametrize("ks", [[], [0], [-1, 3], [1.5], [True]])
def test_cut_offs_that_are_none_are_refused(ks):
    with pytest.raises(ConfigError, match="ks"):
        ranking_values(np.array([[0]]), Lists.from_groups([[0]]), ks)


def test_a_cut_off_beyond_the_lists_is_refused():
    with pytest.raises(DataError, match="got length 2 for k = 3"):
        recall(np.array([[0, 1]]), Lists.from_groups([[0]]), 3)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=10))
def test_popularity_percentile(counts):
    found = popularity_percentile(np.array(counts))
    expected = [
        (sum(c < one for c in counts) + sum(c == one for c in counts) / 2) / len(counts) for one in counts
    ]
    np.testing.assert_allclose(found, expected)
    assert found.mean() == pytest.approx(0.5)


def test_self_information():
    # An item without training interactions has the self-information of one with a single interaction.
    np.testing.assert_allclose(self_information(np.array([8, 2, 1, 0]), total=16), [1, 3, 4, 4])
    with pytest.raises(DataError, match="got 0"):
        self_information(np.array([0]), total=0)


def test_list_means():
    values = np.array([1.0, 2.0, 6.0])
    lists = np.array([[0, 2, 1], [2, 1, -1], [-1, -1, -1]], dtype=np.int32)
    found = list_means(lists, values, (1, 2, 3))
    np.testing.assert_allclose(found, [[1, 6, np.nan], [3.5, 4, np.nan], [3, 4, np.nan]])


@pytest.fixture(scope="module")
def values():
    """Return three metrics of 80 users, of which one does not count every user."""
    rng = np.random.default_rng(2)
    a, b = rng.random(80), rng.random(80)
    return {"a": a, "b": b, "part": np.where(rng.random(80) < 0.3, np.nan, a)}


def test_mean_intervals_are_those_of_copied_users(values):
    found = mean_intervals(values, resamples=90, seed=4, level=0.8)
    for name, of in values.items():
        copies = [
            np.nanmean(np.repeat(of, draws.astype(int)))
            for block in user_draws(80, 90, seed=4)
            for draws in block
        ]
        low, high = np.quantile(copies, [0.1, 0.9])
        assert found[name].value == pytest.approx(np.nanmean(of))
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
    assert user_means(values) == {name: interval.value for name, interval in found.items()}


def test_differences_are_paired(values):
    a = {"x": values["a"], "y": values["part"]}
    better = {name: of + 0.1 for name, of in a.items()}
    found = mean_differences({"a": a, "copy": dict(a), "better": better}, "a", resamples=50)
    assert set(found) == {"copy", "better"}
    assert set(found["copy"].values()) == {Interval(0.0, 0.0, 0.0)}
    for interval in found["better"].values():  # 0.1 for every user in every resample
        assert (interval.value, interval.low, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_few_users_have_no_interval():
    nan = math.nan
    found = mean_intervals({"one": np.array([0.5, nan]), "none": np.array([nan, nan])}, resamples=10)
    assert found["one"].as_dict() == {"value": 0.5, "low": None, "high": None}
    assert found["none"].as_dict() == {"value": None, "low": None, "high": None}


def test_what_can_not_be_resampled_is_refused(values):
    with pytest.raises(DataError, match=r"\[79, 80\]"):
        mean_intervals({"a": values["a"], "b": values["b"][1:]})
    with pytest.raises(DataError, match="at least one"):
        mean_intervals({"a": np.array([])})
    with pytest.raises(ConfigError, match="Did you mean 'ease'"):
        mean_differences({"ease": values}, "eas")
    with pytest.raises(DataError, match="same metrics"):
        mean_differences({"x": values, "y": {"a": values["a"]}}, "x")
    with pytest.raises(ConfigError, match="level"):
        mean_intervals(values, resamples=5, level=1.0)
