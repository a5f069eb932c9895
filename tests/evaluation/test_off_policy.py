"""Off-policy estimates, against their definitions and, over all logs that could have come, the truth."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from twotower.errors import ConfigError, DataError
from twotower.evaluation import Logged, evaluate_off_policy
from twotower.evaluation.reward_model import RewardModel, folds_of

MU = ((0.5, 0.3, 0.2), (0.1, 0.1, 0.8))
PI = ((0.0, 0.4, 0.6), (0.7, 0.3, 0.0))
REWARD = ((1.0, 0.0, 4.0), (2.0, -1.0, 3.0))
Q = ((9.0, 1.0, 2.0), (0.0, 5.0, 1.0))  # wrong on purpose
TRUTH = sum(PI[u][a] * REWARD[u][a] for u in (0, 1) for a in range(3)) / 2


def logged(users: list[int], items: list[int]) -> Logged:
    def of(table: Any) -> np.ndarray:
        return np.array([table[u][a] for u, a in zip(users, items, strict=True)])

    expected = np.array([sum(p * q for p, q in zip(PI[u], Q[u], strict=True)) for u in users])
    return Logged(np.array(users), of(REWARD), of(MU), of(PI), of(Q), expected)


def test_over_all_logs_ips_and_dr_are_right_in_the_mean_and_snips_nearly() -> None:
    means = dict.fromkeys(("ips", "dr"), 0.0)
    for items in itertools.product(range(3), repeat=4):  # both users, two rows each
        users = [0, 0, 1, 1]
        chance = math.prod(MU[u][a] for u, a in zip(users, items, strict=True))
        found = evaluate_off_policy(logged(users, list(items)), resamples=1)
        for name in means:
            means[name] += chance * found.values[name]
    assert means == pytest.approx({"ips": TRUTH, "dr": TRUTH})


def test_estimates_are_their_definitions() -> None:
    users, items = [0, 0, 1, 1, 1], [1, 2, 0, 2, 1]
    found = evaluate_off_policy(logged(users, items), clip=2.0)
    w = [PI[u][a] / MU[u][a] for u, a in zip(users, items, strict=True)]
    assert max(w) == pytest.approx(7.0)
    for ending, of in (("", w), ("_clipped", [min(x, 2.0) for x in w])):
        rows = list(zip(of, users, items, strict=True))
        ips = sum(x * REWARD[u][a] for x, u, a in rows) / 5
        dr = sum(
            sum(p * q for p, q in zip(PI[u], Q[u], strict=True)) + x * (REWARD[u][a] - Q[u][a])
            for x, u, a in rows
        )
        assert found.values[f"ips{ending}"] == pytest.approx(ips)
        assert found.values[f"snips{ending}"] == pytest.approx(5 * ips / sum(of))
        assert found.values[f"dr{ending}"] == pytest.approx(dr / 5)
        for name in ("ips", "snips", "dr"):
            less = found.values[f"{name}{ending}"] - found.logged
            assert found.ours_minus_logged[f"{name}{ending}"] == pytest.approx(less)
    weights = found.weights
    assert found.logged == pytest.approx((0 + 4 + 2 + 3 - 1) / 5)
    assert weights.effective == pytest.approx(sum(w) ** 2 / sum(x * x for x in w))
    assert weights.largest == pytest.approx(7.0 / sum(w))
    assert weights.mean == pytest.approx(sum(w) / 5)
    assert (weights.positive, weights.clip, weights.clipped) == (4, 2.0, 3)
    assert evaluate_off_policy(logged(users, items)).weights.clip == math.sqrt(5)


def test_a_log_of_our_own_policy_gives_its_mean() -> None:
    rng = np.random.default_rng(0)
    user, reward, p = rng.integers(50, size=900), rng.random(900), rng.uniform(0.1, 0.9, 900)
    found = evaluate_off_policy(Logged(user, reward, p, p), resamples=50)
    assert set(found.values) == {"ips", "snips", "ips_clipped", "snips_clipped"}  # no predictions, no DR
    assert all(value == pytest.approx(reward.mean()) for value in found.values.values())
    assert found.weights.effective == pytest.approx(900)
    assert found.notes == ()


def test_unreliable_estimates_say_why() -> None:
    rng = np.random.default_rng(0)
    user, reward = np.arange(2000) % 100, rng.random(2000)
    even = np.full(2000, 0.5)

    def notes(**given: np.ndarray) -> str:
        return " | ".join(evaluate_off_policy(Logged(user, reward, **given), resamples=100).notes)

    assert notes(propensity=even, probability=even) == ""
    assert "should be 1: propensities are not those" in notes(propensity=even / 2, probability=even)
    rare = np.where(np.arange(2000) < 3, 0.001, 0.5)
    extreme = notes(propensity=rare, probability=even)
    assert "effective sample size" in extreme
    assert "one row has" in extreme
    assert "none of the logged items" in notes(propensity=even, probability=np.zeros(2000))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("propensity", 0.0, "each propensity must be a probability above 0"),
        ("propensity", 5e-324, "each propensity must be at least our policy's probability / 1e.60"),
        ("reward", 1e200, "each reward must be a finite number, 1e.60 at most; 1 row differs, first row 2"),
        ("propensity", 1.5, r"1 row differ, first row 2: 1.5|each propensity"),
        ("probability", -0.1, "each probability must be a probability from 0 to 1"),
        ("reward", math.nan, "each reward must be a finite number"),
    ],
)
def test_wrong_rows_are_refused(column: str, value: float, message: str) -> None:
    columns = {name: np.full(3, 0.5) for name in ("reward", "propensity", "probability")}
    columns[column][1] = value
    with pytest.raises(DataError, match=message):
        Logged(np.arange(3), **columns)


def test_wrong_arguments_are_refused() -> None:
    half = np.full(2, 0.5)
    with pytest.raises(DataError, match="belong together"):
        Logged(np.arange(2), half, half, half, predicted=half)
    with pytest.raises(DataError, match="for each of the 2 rewards, got 3"):
        Logged(np.arange(2), half, np.full(3, 0.5), half)
    with pytest.raises(DataError, match="at least one logged row"):
        Logged(np.arange(0), np.empty(0), np.empty(0), np.empty(0))
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="clip must be a number above 0"):
            evaluate_off_policy(Logged(np.arange(2), half, half, half), clip=wrong)


def test_the_reward_model_is_the_ridge_regression_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    score, item = rng.normal(size=600), rng.integers(-1, 8, 600)
    reward = 1.0 + 0.5 * score + np.append(np.linspace(-1, 1, 8), 0.0)[item] + 0.1 * rng.normal(size=600)
    model = RewardModel.fit(score, item, reward, 8)
    design = np.column_stack([np.ones(600), score, item[:, None] == np.arange(8)]).astype(float)
    penalty = np.diag([0.0, 0.0, *[10.0] * 8])
    exact = np.linalg.solve(design.T @ design + penalty, design.T @ reward)
    np.testing.assert_allclose([model.level, model.slope, *model.items], exact, atol=0.02)
    np.testing.assert_allclose(model.predict(score, item), design @ exact, atol=0.03)
    pi, scores = rng.dirichlet(np.ones(8), 3), rng.normal(size=(3, 8))
    all_items = np.arange(8)
    each = [pi[u] @ model.predict(scores[u], all_items) for u in range(3)]
    np.testing.assert_allclose(model.expected(pi, scores), each)
    assert sorted(np.bincount(folds_of(12, 0))) == [2, 2, 2, 3, 3]
