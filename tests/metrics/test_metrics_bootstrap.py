"""The bootstrap from sums against one that copies rows, and the coverage of its intervals."""

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from twotower.errors import ConfigError, DataError
from twotower.metrics import (
    group_users,
    intervals,
    paired_differences,
    replicates,
    user_draws,
    user_statistics,
    xauc,
    xauc_per_user,
)

CAP = 3.0


def table(n_users, rows, seed):
    """Users of unequal activity whose labels, errors and skill differ: (user, label, prediction)."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), rng.poisson(rows, n_users) + 1)
    taste, skill = rng.normal(0, 0.5, n_users), rng.uniform(0, 1, n_users)
    label = np.round(np.exp(taste[user] + rng.normal(0, 0.7, user.size)), 2)
    prediction = np.round(skill[user] * label + rng.normal(0.5, 0.5, user.size), 2)
    shuffled = rng.permutation(user.size)
    return user[shuffled] * 3 + 11, label[shuffled], prediction[shuffled]


def copied_rows(code, draws):
    """Row numbers of a resample: all rows of each user, once per draw of the user."""
    return np.repeat(np.arange(code.size), draws[code].astype(int))


def test_draws_are_multinomial_reproducible_and_free_of_the_block_size():
    draws = np.concatenate(list(user_draws(50, 300, seed=5)))
    assert draws.shape == (300, 50)
    np.testing.assert_array_equal(draws.sum(axis=1), 50)
    np.testing.assert_array_equal(draws[:70], np.concatenate(list(user_draws(50, 70, seed=5))))
    assert not np.array_equal(draws, np.concatenate(list(user_draws(50, 300, seed=6))))
    assert draws.var() == pytest.approx(
        1 - 1 / 50, rel=0.05
    )  # variance of a multinomial of 50 over 50 equal cells


def test_sums_give_what_copying_the_rows_gives():
    user, label, prediction = table(40, 6, seed=1)
    groups = group_users(user)
    (drawn,) = replicates([user_statistics(groups, label, prediction, cap=CAP)], resamples=70, seed=2)
    _, own = xauc_per_user(user, label, prediction)
    for resample, draws in enumerate(np.concatenate(list(user_draws(40, 70, seed=2)))):
        rows = copied_rows(groups.code, draws)
        y, p = label[rows], prediction[rows]
        yc, pc = np.minimum(y, CAP), np.minimum(p, CAP)
        expected = {
            "mae": mean_absolute_error(y, p),
            "rmse": root_mean_squared_error(y, p),
            "r2": r2_score(y, p),
            "mae_capped": mean_absolute_error(yc, pc),
            "rmse_capped": root_mean_squared_error(yc, pc),
            "r2_capped": r2_score(yc, pc),
            "xauc_by_user": np.nanmean(np.repeat(own, draws.astype(int))),
        }
        for name, value in expected.items():
            assert drawn[name][resample] == pytest.approx(value, rel=1e-9), name


def test_the_linearised_xauc_follows_copying_the_rows():
    """Stated tolerance with 150 users: replicates correlate above 0.995, bounds within 4% of the width."""
    user, label, prediction = table(150, 8, seed=3)
    groups = group_users(user)
    statistics = user_statistics(groups, label, prediction, cap=None)
    (drawn,) = replicates([statistics], resamples=400, seed=4)
    exact = np.array(
        [
            xauc(label[rows], prediction[rows])
            for draws in np.concatenate(list(user_draws(150, 400, seed=4)))
            for rows in [copied_rows(groups.code, draws)]
        ]
    )
    assert np.corrcoef(drawn["xauc"], exact)[0, 1] > 0.995
    low, high = np.quantile(exact, [0.025, 0.975])
    interval = intervals(statistics, resamples=400, seed=4)["xauc"]
    assert interval.low == pytest.approx(low, abs=0.04 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.04 * (high - low))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth_of = user_statistics(*_grouped(table(20_000, 5, seed=99)), cap=CAP).values()
    samples, covered = 150, dict.fromkeys(truth_of, 0)
    for seed in range(samples):
        statistics = user_statistics(*_grouped(table(300, 5, seed=seed)), cap=CAP)
        for name, interval in intervals(statistics, resamples=200, seed=seed, level=0.9).items():
            covered[name] += interval.low <= truth_of[name] <= interval.high
    # 90% minus sampling noise (sd 2.4%) and some undercoverage of squared errors, whose tail is long.
    assert {name: hits / samples for name, hits in covered.items() if not 0.8 <= hits / samples <= 0.98} == {}


def test_a_slice_equals_a_table_of_its_rows():
    user, label, prediction = table(30, 6, seed=7)
    kept = label > 1
    sliced = user_statistics(group_users(user), label, prediction, cap=CAP, where=kept)
    alone = user_statistics(group_users(user[kept]), label[kept], prediction[kept], cap=CAP)
    assert sliced.n_users == 30  # users without a row in the slice stay, so that all slices share their draws
    assert sliced.values() == pytest.approx(alone.values(), rel=1e-12)


def test_many_models_share_draws_and_statistics():
    user, label, prediction = table(60, 6, seed=8)
    groups = group_users(user)
    models = {
        name: user_statistics(groups, label, values, cap=CAP)
        for name, values in {
            "ours": prediction,
            "mean": np.full(label.size, label.mean()),
            "twin": prediction,
        }.items()
    }
    differences = paired_differences(models, "ours", resamples=200, seed=1)
    assert list(differences) == ["mean", "twin"]
    assert all(
        abs(number) < 1e-12
        for interval in differences["twin"].values()
        for number in (interval.value, interval.low, interval.high)
    )
    alone = [intervals(models[name], resamples=200, seed=1)["mae"] for name in ("mean", "ours")]
    paired = differences["mean"]["mae"]
    assert paired.value == alone[0].value - alone[1].value
    drawn = replicates(list(models.values()), resamples=200, seed=1)
    np.testing.assert_allclose(
        [paired.low, paired.high], np.quantile(drawn[1]["mae"] - drawn[0]["mae"], [0.025, 0.975]), rtol=1e-12
    )


def test_a_single_user_gives_no_interval():
    statistics = user_statistics(group_users([4, 4, 4]), [1.0, 2, 4], [1.0, 3, 2], cap=None)
    for interval in intervals(statistics, resamples=20).values():
        assert math.isfinite(interval.value)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_a_metric_behind_which_one_user_stands_gives_no_interval():
    # Only user 1 has two labels; the other rows still count for mae.
    statistics = user_statistics(group_users([1, 1, 2, 3]), [1.0, 2, 3, 4], [1.0, 2, 2, 2], cap=None)
    report = intervals(statistics, resamples=50)
    assert report["xauc_by_user"].value == 1.0
    assert math.isnan(report["xauc_by_user"].low)
    assert report["mae"].low < report["mae"].high


@pytest.mark.parametrize("other", [5.0, 0.1])
def test_resamples_without_variance_are_left_out(other):
    # Two users, each with one constant label: half of the resamples draw one user twice.
    statistics = user_statistics(
        group_users([1, 1, 2, 2]), [0.3, 0.3, other, other], [0.0, 1, 4, 5], cap=None
    )
    (drawn,) = replicates([statistics], resamples=200, seed=0)
    undefined = np.isnan(drawn["r2"])
    assert 60 < undefined.sum() < 140
    np.testing.assert_allclose(drawn["r2"][~undefined], statistics.values()["r2"])
    assert math.isfinite(intervals(statistics, resamples=200)["r2"].low)


def test_refusals():
    y, p = [1.0, 2.0, 3.0], [1.0, 2.0, 2.0]
    statistics = user_statistics(group_users([1, 2, 3]), y, p, cap=None)
    with pytest.raises(ConfigError, match="level must lie between 0 and 1; got 95"):
        intervals(statistics, level=95)
    with pytest.raises(ConfigError, match="resamples must be at least 1; got 0"):
        intervals(statistics, resamples=0)
    with pytest.raises(ConfigError, match="seed must be a whole number of at least 0; got -1"):
        intervals(statistics, seed=-1)
    with pytest.raises(ConfigError, match=r"against must name one of the models \(a\); got 'b'"):
        paired_differences({"a": statistics}, "b")
    capped = user_statistics(group_users([1, 2, 3]), y, p, cap=5)
    with pytest.raises(ConfigError, match=r"same cap; got None for 'a' and 5\.0 for 'b'"):
        paired_differences({"a": statistics, "b": capped}, "a")
    others = user_statistics(group_users([1, 2, 4]), y, p, cap=None)
    with pytest.raises(DataError, match="the same users"):
        paired_differences({"a": statistics, "b": others}, "a")
    relabelled = user_statistics(group_users([1, 2, 3]), [1.0, 2.0, 4.0], p, cap=None)
    with pytest.raises(DataError, match="the same rows"):
        paired_differences({"a": statistics, "b": relabelled}, "a")


def _grouped(columns):
    user, label, prediction = columns
    return group_users(user), label, prediction
