"""`twotower.compare`: models and baselines on one split, from Python."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest

import twotower as tt
from twotower.errors import ConfigError, TrainPartError, TwoTowerWarning

QUICK: dict[str, Any] = {"dim": 8, "threads": 1, "epochs": 2}


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 30))
    user, item = np.divmod(rng.permutation(80 * 30)[:1500], 30)
    label = np.clip(np.round(3 + taste[user, item] + 0.3 * rng.normal(size=1500)), 1, 5)
    data = tt.Dataset.of(
        pl.DataFrame({"u": user, "i": item, "y": label}), schema={"user": "u", "item": "i", "label": "y"}
    )
    return tt.split(data, test=0.2, seed=1)


def test_rankings_of_ours_baselines_and_another_model(parts) -> None:
    train, test = parts
    ours = tt.TwoTower(**QUICK, positive=4.0)
    found = tt.compare(
        train,
        test,
        ours,
        others={"wide": tt.TwoTower(**{**QUICK, "dim": 16}, positive=4.0)},
        baselines=["popularity", "item_knn"],
        ks=(5,),
        resamples=100,
        progress=False,
    )
    frame = found.to_frame()
    assert frame["model"].unique(maintain_order=True).to_list() == [
        "two-tower",
        "wide",
        "popularity",
        "item kNN",
    ]
    alone = ours.fit(train, progress=False).evaluate(test, ks=(5,), resamples=100, seed=42)
    mine = frame.filter(model="two-tower", metric="ndcg@5").row(0, named=True)
    assert mine["value"] == alone.metrics["ndcg@5"].value
    assert len(repr(found)) < 1_000
    assert repr(found).startswith("4 models, rankings for ")
    assert found._repr_html_().count("<tr>") == 5
    assert found.plot().spec["data"]["values"][0]["group"] == "ndcg@5"


def test_a_trained_model_is_not_trained_again(parts) -> None:
    train, test = parts
    model = tt.TwoTower(**QUICK, objective="squared").fit(train, progress=False)
    found = tt.compare(train, test, model, baselines=["mean"], resamples=100)
    rmse = model.evaluate(test, ranking=False).metrics["rmse"]
    assert found.comparison.models["two-tower"].metrics["rmse"].value == rmse.value
    row = found.to_frame().filter(model="mean", metric="rmse").row(0, named=True)
    assert row["verdict"] == "better"
    assert row["difference"] < 0
    assert list(tt.compare(train, test, model, baselines=(), resamples=100).comparison.models) == [
        "two-tower"
    ]


def test_what_can_not_be_compared_is_refused(parts) -> None:
    train, test = parts
    ranks, predicts = tt.TwoTower(**QUICK), tt.TwoTower(**QUICK, objective="squared")
    with pytest.raises(
        ConfigError, match=r"baselines of objective 'all_pairs' are .*got 'populaity'. Did you mean 'pop"
    ):
        tt.compare(train, test, ranks, baselines=["populaity"])
    with pytest.raises(ConfigError, match="a model that ranks can't be compared with one that predicts"):
        tt.compare(train, test, ranks, others={"other": predicts})
    with pytest.raises(ConfigError, match="got str for 'x'"):
        tt.compare(train, test, ranks, others={"x": "popularity"})
    with pytest.raises(ConfigError, match="others can't use the name 'two-tower'"):
        tt.compare(train, test, ranks, others={"two-tower": ranks})
    with pytest.raises(ConfigError, match=r"'evaluation.resamples' must be at least 100"):
        tt.compare(train, test, ranks, resamples=1)
    with pytest.raises(TrainPartError, match=r"a training set \(TrainPart\), got Dataset"):
        tt.compare(test, test)


def test_progress_is_told(parts, capsys) -> None:
    train, test = parts
    tt.compare(train, test, tt.TwoTower(**QUICK), baselines=["popularity"], resamples=100, progress=True)
    said = capsys.readouterr().err
    assert "training two-tower" in said
    assert "popularity (1 of 1): " in said


@pytest.mark.parametrize("objective", ["all_pairs", "squared"])
def test_a_model_that_was_trained_on_test_rows_is_told_of(parts, objective) -> None:
    train, test = parts
    more = {"positive": 4.0} if objective == "all_pairs" else {}
    estimator = tt.TwoTower(**QUICK, objective=objective, **more)
    honest = estimator.fit(train, progress=False)
    both = pl.concat([train.interactions, test.interactions.head(50)])
    cheat = estimator.fit(train.with_interactions(both).as_train(), progress=False)
    given: dict[str, Any] = {"baselines": (), "resamples": 100, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error", TwoTowerWarning)
        tt.compare(train, test, honest, **given)
    with pytest.warns(TwoTowerWarning, match="cheat was trained on 50 of the 300 user-item pairs that only"):
        tt.compare(train, test, honest, others={"cheat": cheat}, **given)
