"""`twotower.cross_validate`: every row is tested once, by a model that has not seen it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import twotower as tt
from twotower.data.splits import SPLITS, HoldOut
from twotower.errors import ConfigError, DataError
from twotower.workflows.cross_validation import CrossValidation

QUICK: dict[str, Any] = {"dim": 8, "threads": 1, "epochs": 2}


def rows(n: int = 900) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(60 * 30)[:n], 30)
    label = np.clip(np.round(3 + np.sin(user + 2.0 * item) + 0.3 * rng.normal(size=n)), 1, 5)
    return pl.DataFrame({"user_id": user, "item_id": item, "y": label})


@pytest.fixture(scope="module")
def data() -> tt.Dataset:
    return tt.Dataset.of(rows(), schema={"label": "y"})


FOLDS = [one for one in SPLITS if issubclass(kind := SPLITS[one], HoldOut) and kind.makes_folds()]


@pytest.mark.parametrize("method", FOLDS)
def test_folds_are_even_and_follow_the_seed(method: str) -> None:
    assert {"random", "per_user", "cold_items", "cold_users"} <= set(FOLDS)
    splitter = SPLITS[method]()
    assert isinstance(splitter, HoldOut)
    frame = pl.DataFrame(
        {"user_id": [f"u{at % 7}" for at in range(101)], "item_id": [at // 7 for at in range(101)]}
    )
    data = tt.Dataset.of(frame, schema={})

    def folds(seed: int) -> Any:
        fold = splitter.folds(data, 5, np.random.default_rng(seed))
        assert fold is not None
        return fold

    fold = folds(3)
    assert np.array_equal(fold, folds(3))
    assert not np.array_equal(fold, folds(4))
    dealt = frame.with_columns(fold=fold)
    if splitter.cold:  # each user or item with all its rows
        ids = {"users": "user_id", "items": "item_id"}[splitter.cold]
        owners = dealt.group_by(ids).agg(pl.col("fold").unique())
        assert (owners["fold"].list.len() == 1).all()
        sizes = owners["fold"].explode().value_counts()["count"].to_list()
        assert max(sizes) - min(sizes) <= 1
        return
    assert sorted(np.bincount(fold)) == [20, 20, 20, 20, 21]
    of_each = [np.bincount(own["fold"].to_numpy(), minlength=5) for own in dealt.partition_by("user_id")]
    assert (max(np.ptp(counts) for counts in of_each) <= 1) == (method == "per_user")


def test_the_folds_of_a_seed_stay_the_same(data: tt.Dataset) -> None:
    n = len(data)
    order = np.random.default_rng(9).permutation(n)
    expected = np.empty(n, dtype=np.int64)
    expected[order] = np.arange(n) % 4
    random = SPLITS["random"]()
    assert isinstance(random, HoldOut)
    assert np.array_equal(random.folds(data, 4, np.random.default_rng(9)), expected)  # type: ignore[arg-type]


class Halves(HoldOut):
    """The even rows, and the odd ones."""

    name = "halves"
    summary = "the even rows"

    def hold_out(self, data: tt.Dataset, share: float, rng: np.random.Generator) -> Any:
        return np.arange(len(data)) % 2 == 0

    def folds(self, data: tt.Dataset, count: int, rng: np.random.Generator) -> Any:
        return np.arange(len(data)) % count


def test_folds_of_ones_own(data: tt.Dataset) -> None:
    found = tt.cross_validate(tt.TwoTower(**QUICK), data, 3, Halves(), resamples=100, progress=False)
    assert [one.rows for one in found.evaluations] == [300, 300, 300]
    with pytest.raises(ConfigError, match="split method 'leave_last' makes no folds"):
        tt.cross_validate(tt.TwoTower(**QUICK), data, 3, SPLITS["leave_last"]())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="61 folds need at least 61 users, got 60"):
        tt.cross_validate(tt.TwoTower(**QUICK), data, 61, "cold_users")


@pytest.mark.parametrize("method", ["cold_items", "cold_users"])
def test_folds_of_new_items_and_users_are_measured(method: str, data: tt.Dataset) -> None:
    model = tt.TwoTower(**QUICK, objective="squared")
    found = tt.cross_validate(model, data, 2, method, resamples=100, progress=False)
    assert sum(one.rows for one in found.evaluations) == len(data)
    assert found.metrics["rmse"].value > 0


@pytest.mark.parametrize("method", ["random", "per_user"])
def test_each_row_is_tested_once_by_a_model_that_has_not_seen_it(
    method: Any, data: tt.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested, fit, evaluate = [], tt.TwoTower.fit, tt.Recommender.evaluate
    trained: list[pl.DataFrame] = []

    def keep_train(self: tt.TwoTower, train: Any, **given: Any) -> tt.Recommender:
        trained.append(train.interactions)
        assert "validation" not in given
        return fit(self, train, **given)

    def keep_test(self: tt.Recommender, test: tt.Dataset, **given: Any) -> Any:
        tested.append(test.interactions)
        return evaluate(self, test, **given)

    monkeypatch.setattr(tt.TwoTower, "fit", keep_train)
    monkeypatch.setattr(tt.Recommender, "evaluate", keep_test)
    copies = tt.Dataset.of(pl.concat([rows(), rows()[:50]]), schema={"label": "y"})
    tt.cross_validate(tt.TwoTower(**QUICK), copies, 3, method, progress=False, resamples=100)
    key = ["user_id", "item_id"]
    assert pl.concat(tested).sort(key).equals(data.interactions.sort(key)), "copies are dropped first"
    for train, test in zip(trained, tested, strict=True):
        assert train.join(test, on=key).height == 0
        assert train.height + test.height == 900


def test_means_intervals_and_values(data: tt.Dataset) -> None:
    found = tt.cross_validate(
        tt.TwoTower(**QUICK, objective="squared"), data, 3, ks=(5,), resamples=100, progress=False
    )
    values = [float(one.metrics["rmse"]) for one in found.evaluations]
    row = found.to_frame().row(by_predicate=pl.col("metric") == "rmse", named=True)
    assert [row[f"fold_{at}"] for at in (1, 2, 3)] == values
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["std"] == pytest.approx(np.std(values, ddof=1))
    half = stats.t.ppf(0.975, 2) * row["std"] * math.sqrt(1 / 3 + 1 / 2)
    assert (row["low"], row["high"]) == pytest.approx((row["mean"] - half, row["mean"] + half))
    assert row["higher_is_better"] is False
    assert found.metrics["ndcg@5"] > 0
    text = repr(found)
    assert text.startswith("3-fold cross-validation on 900 rows")
    assert f"{row['mean']:.4f}" in text
    assert len(text) < 1_000
    assert found._repr_html_().count("<tr>") > 5


def test_a_metric_that_a_fold_lacks(data: tt.Dataset) -> None:
    found = tt.cross_validate(
        tt.TwoTower(**QUICK, objective="squared"), data, 2, ranking=False, resamples=100, progress=False
    )
    one, two = found.evaluations
    lacking = type(two)(two.rows, None, None)
    metrics = CrossValidation.of([one, lacking]).metrics
    assert metrics["rmse"].value == one.metrics["rmse"].value
    assert math.isnan(metrics["rmse"].low)
    assert CrossValidation.of([one, lacking]).to_frame()["fold_2"].null_count() == len(metrics)


def test_own_metrics_and_notes_are_passed_on(data: tt.Dataset) -> None:
    def lengths(recommended: list[list[int]], relevant: list[list[int]]) -> list[float]:
        return [math.nan, *(float(len(items)) for items in recommended[1:])]

    with pytest.warns(UserWarning, match=r"folds 1, 2 of 2: metric 'length'") as said:
        found = tt.cross_validate(
            tt.TwoTower(**QUICK), data, 2, metrics={"length": lengths}, ks=(5,), resamples=100, progress=False
        )
    assert len(said) == 1
    assert found.metrics["length"] == pytest.approx(5.0)
    assert "length" in repr(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 1}, "folds must be a whole number, 2 or more, got 1"),
        ({"folds": 2.0}, "folds must be a whole number, 2 or more, got 2.0"),
        (
            {"method": "per-user"},
            "unknown split method 'per-user'. Did you mean 'per_user'",
        ),
        ({"model": "als"}, "takes a TwoTower that is not trained, got str"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], message: str, data: tt.Dataset) -> None:
    with pytest.raises(ConfigError, match=message):
        tt.cross_validate(**{"model": tt.TwoTower(), "data": data, **given})


def test_a_fold_that_fails_is_named(data: tt.Dataset) -> None:
    with pytest.raises(DataError, match="1,000 folds need at least 1,000 rows, got 900"):
        tt.cross_validate(tt.TwoTower(), data, 1_000)
    with pytest.raises(DataError, match="fold 1 of 2: "):
        tt.cross_validate(tt.TwoTower(**QUICK, positive=9.0), data, 2, progress=False)
