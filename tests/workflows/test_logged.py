"""Off-policy evaluation of a model, against a loop over rows; what can't count is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from twotower.config.diversity import DiversityConfig
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.estimator import TwoTower
from twotower.evaluation import ListPolicy, SoftmaxPolicy
from twotower.recommender import Query, Recommender
from twotower.workflows import evaluate_logged


@pytest.fixture(scope="module")
def model() -> Recommender:
    rng = np.random.default_rng(0)
    cell = rng.choice(30 * 20, 200, replace=False)
    events = pl.DataFrame({"user": [f"u{n}" for n in cell // 20], "item": cell % 20})
    users = pl.DataFrame({"user": [f"u{n}" for n in range(30)]})
    data = Dataset.of(events, users, schema={"user": "user", "item": "item"})
    return TwoTower(dim=8, kind="linear", objective="all_pairs", threads=1).fit(data.as_train())


def log(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user": [f"u{n}" for n in rng.integers(32, size=n)],  # two are unknown
            "item": rng.integers(21, size=n),  # one is
            "reward": rng.random(n) < 0.3,
            "propensity": rng.uniform(0.02, 0.2, n),
        }
    )


@pytest.mark.parametrize("exclude", [True, False])
def test_estimates_are_those_of_lists_by_recommend(model: Recommender, exclude: bool) -> None:
    rows = log()
    known = set(model.user_ids.to_list())
    lists = {
        user: model.recommend(
            [user] if user in known else [Query(features={})],
            3,
            exclude_seen=exclude if user in known else False,
        )["item"].to_list()
        for user in rows["user"].unique()
    }
    w = np.array(
        [(i in lists[u]) / 3 / p for u, i, p in rows.select("user", "item", "propensity").iter_rows()]
    )
    found = evaluate_logged(model, rows, ListPolicy(3), exclude_seen=exclude, resamples=20)
    reward = rows["reward"].cast(float).to_numpy()
    assert found.found.values["ips"] == pytest.approx(float((w * reward).mean()))
    assert found.found.values["snips"] == pytest.approx(float((w * reward).sum() / w.sum()))
    assert found.unknown_users == (~rows["user"].is_in(list(known))).sum()
    assert found.unknown_items == (rows["item"] == 20).sum()
    seen = set(map(tuple, model.histories.pairs().select("user", "item").iter_rows()))
    of_seen = sum(pair in seen for pair in rows.select("user", "item").iter_rows())
    assert found.seen == (of_seen if exclude else 0)
    assert any("taken as new users" in note for note in found.notes)
    assert any("never shows" in note for note in found.notes)


def test_a_model_with_rules_for_lists_is_judged_by_the_lists_that_it_gives(model: Recommender) -> None:
    ruled = replace(model, diversity=DiversityConfig(relevance=0.3))
    plain, found = (evaluate_logged(of, log(), ListPolicy(3), resamples=20).found for of in (model, ruled))
    rows, known = log(), set(model.user_ids.to_list())
    lists = {
        user: ruled.recommend([user] if user in known else [Query(features={})], 3)["item"].to_list()
        for user in rows["user"].unique()
    }
    w = np.array(
        [(i in lists[u]) / 3 / p for u, i, p in rows.select("user", "item", "propensity").iter_rows()]
    )
    assert found.values["ips"] == pytest.approx(float((w * rows["reward"].cast(float).to_numpy()).mean()))
    assert found.values["ips"] != plain.values["ips"]
    with pytest.raises(ConfigError, match="use -k, one item of the list"):
        evaluate_logged(ruled, log(), SoftmaxPolicy(1.0))


def test_dr_is_right_where_rewards_are_those_that_are_predicted(model: Recommender) -> None:
    # A constant reward is predicted without error, so DR has no noise, whatever the weights are.
    rows = log().with_columns(reward=pl.lit(0.25))
    found = evaluate_logged(model, rows, SoftmaxPolicy(0.5), resamples=20).found
    assert found.values["dr"] == pytest.approx(0.25)
    assert found.values["dr"].high - found.values["dr"].low == pytest.approx(0.0, abs=1e-9)


def test_a_file_gives_the_same_and_wrong_ones_are_refused(model: Recommender, tmp_path: Path) -> None:
    rows = log()
    rows.with_columns(pl.col("reward").cast(float)).write_csv(tmp_path / "log.csv")
    given = (ListPolicy(3),)
    from_file = evaluate_logged(model, tmp_path / "log.csv", *given, resamples=20).as_dict()
    assert from_file == evaluate_logged(model, rows, *given, resamples=20).as_dict()
    with pytest.raises(DataError, match="need the columns user, item, reward, propensity"):
        evaluate_logged(model, rows.drop("propensity"), *given)
    with pytest.raises(DataError, match="'reward' of logged rows must have no empty value"):
        evaluate_logged(model, rows.with_columns(reward=None), *given)
    with pytest.raises(DataError, match="'propensity' of logged rows must hold numbers, got String"):
        evaluate_logged(model, rows.with_columns(propensity=pl.lit("high")), *given)
