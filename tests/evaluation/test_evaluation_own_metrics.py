"""A user's own metrics: what their functions get, and what they may return."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_evaluation_model import Scores

import twotower as tt
from own_metrics import OWN, FirstHit, LastHit, Within
from twotower.cli.measures import print_evaluation
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation import RankingValidator, evaluate_model, ranking_task
from twotower.metrics import METRICS, Catalogue, ListMetric, higher_is_better
from twotower.targets.positive import PositiveRule


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(3)
    cells = rng.permutation(40 * 25)[:600]
    frame = pl.DataFrame({"user": cells // 25, "item": [f"i{item}" for item in cells % 25]})
    schema = Schema(user="user", item="item")
    return Dataset.of(frame[:400], schema=schema), Dataset.of(frame[400:], schema=schema)


class Ranks(Scores):
    """Ranks by the number in the items' names."""

    @staticmethod
    def score(users: pl.Series, items: pl.Series) -> np.ndarray:
        return Scores.score(users, items.str.slice(1).cast(pl.Int64))


def measured(parts: Any, metrics: dict[str, Any], **settings: Any) -> Any:
    train, test = parts
    given = {"rating": False, "ks": (3, 7), "resamples": 50, **settings}
    return evaluate_model(Ranks(), test, train, PositiveRule(), metrics=metrics, **given)


def recall_at_7(recommended: list[list[str]], relevant: list[list[str]]) -> list[float]:
    return [
        len(set(ours[:7]) & set(theirs)) / len(theirs)
        for ours, theirs in zip(recommended, relevant, strict=True)
    ]


@pytest.mark.parametrize("block", [1 << 27, 60])
def test_a_function_gets_what_the_built_in_metrics_see(parts, block, monkeypatch) -> None:
    monkeypatch.setattr(ranking_task, "_CELLS", block)
    found = measured(parts, {"mine": recall_at_7})
    assert found.metrics["mine"].value == pytest.approx(found.metrics["recall@7"].value)
    assert found.metrics["mine"].low == pytest.approx(found.metrics["recall@7"].low)
    mine, theirs = (found.ranking.slices["user"]["warm"].metrics[name] for name in ("mine", "recall@7"))
    assert mine.high == pytest.approx(theirs.high)
    assert "mine" in repr(found)
    assert found.notes == ()


def test_users_without_a_value_are_left_out_and_counted(parts) -> None:
    def first_only(recommended: list[list[str]], relevant: list[list[str]]) -> list[float]:
        return [1.0] * 5 + [math.nan] * (len(relevant) - 5)

    found = measured(parts, {"some": first_only})
    n = found.ranking.users
    assert (found.metrics["some"].value, found.metrics["some"].low) == (1.0, 1.0)
    assert found.notes == (
        f"metric 'some' has no value (nan) for {n - 5} of {n} users, who are left out of it",
    )


def test_a_direction_can_be_declared(parts) -> None:
    def misses(recommended: list[list[str]], relevant: list[list[str]]) -> np.ndarray:
        return 1 - np.array(recall_at_7(recommended, relevant))

    misses.higher_is_better = False  # type: ignore[attr-defined]
    frame = measured(parts, {"misses": misses, "plain": recall_at_7}).to_frame()
    directions = dict(frame.select("metric", "higher_is_better").iter_rows())
    assert (directions["misses"], directions["plain"], directions["recall@7"]) == (False, None, True)
    misses.higher_is_better = "no"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="higher_is_better of metric 'misses' is True or False, got 'no'"):
        measured(parts, {"misses": misses})


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (lambda lists, right: [0.0] * 3, r"shape \(3,\)"),
        (lambda lists, right: 0.5, "0.5"),
        (lambda lists, right: None, "None"),
        (lambda lists, right: [math.inf] * len(lists), "an infinite value"),
        (lambda lists, right: ["a"] * len(lists), r"got \['a', 'a', "),
    ],
)
def test_what_is_no_number_per_user_is_refused(parts, returned, got) -> None:
    with pytest.raises(DataError, match=rf"metric 'bad' must return one finite number for each .*{got}"):
        measured(parts, {"bad": returned})


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"ndcg@3": recall_at_7}, "needs a name of its own, got 'ndcg@3'"),
        ({"rmse": recall_at_7}, "needs a name of its own, got 'rmse'"),
        ({"": recall_at_7}, "needs a name of its own, got ''"),
        ({"mine": 0.5}, r"must be a function of \(recommended, relevant\) or a Metric, got 0.5"),
    ],
)
def test_names_and_functions_are_checked(parts, metrics, message) -> None:
    with pytest.raises(ConfigError, match=message):
        measured(parts, metrics)


def test_without_a_ranking_there_is_nothing_to_call(parts) -> None:
    with pytest.raises(ConfigError, match="ranking is switched off; set ranking=True"):
        measured(parts, {"mine": recall_at_7}, rating=True, ranking=False)


def test_an_error_says_whose_it_is_and_lists_are_not_shared(parts) -> None:
    def greedy(recommended: list[list[str]], relevant: list[list[str]]) -> list[float]:
        for one in recommended:
            one.clear()
        return [0.0] * len(relevant)

    found = measured(parts, {"greedy": greedy, "mine": recall_at_7})
    assert found.metrics["mine"].value == pytest.approx(found.metrics["recall@7"].value)
    with pytest.raises(ZeroDivisionError) as caught:
        measured(parts, {"fails": lambda lists, right: 1 / 0})
    assert caught.value.__notes__ == ["Raised by the metric 'fails'."]


@pytest.fixture(scope="module")
def labelled() -> tuple[tt.TwoTower, Any, Dataset]:
    """Settings, and a training and a test set with labels and a column of the items."""
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(0, 40, 900), "item": rng.integers(0, 25, 900), "stars": rng.normal(size=900)}
    items = pl.DataFrame({"item": range(25), "year": range(1990, 2015)})
    schema = {"user": "user", "item": "item", "label": "stars", "items": {"year": "number"}}
    data = Dataset.of(pl.DataFrame(rows), items=items, schema=schema)
    return tt.TwoTower(dim=4, objective="squared", threads=1), *tt.split(data, test=0.2)


class MeanYear(ListMetric):
    """The mean year of the recommended items."""

    name = "mean_year"
    unit = "years"
    requires = ("items.year",)

    def of_item(self, catalogue: Catalogue) -> Any:
        return catalogue.column("year").to_numpy()


def test_metrics_of_every_kind_are_measured_beside_the_built_in_ones(labelled) -> None:
    model, train, test = labelled
    fitted = model.fit(train, progress=False)
    given = {"metrics": [Within(0.1), *OWN[1:], MeanYear], "cap": 1.0, "ks": (3, 5), "resamples": 100}
    found, plain = fitted.evaluate(test, **given), fitted.evaluate(test, **{**given, "metrics": None})
    names = ["within", "within_capped", "worst", "last_is_hit", "loudest@3", "mean_year@5"]
    names += [f"{name}@{k}" for name in ("first_hit", "mean_row") for k in (3, 5)]
    assert found.metrics.keys() - plain.metrics.keys() == {*names, "loudest@5", "mean_year@3"}
    assert {name: found.metrics[name] for name in plain.metrics} == plain.metrics
    error = np.abs(fitted.predict(test) - test.interactions["stars"].to_numpy())
    assert found.metrics["within"].value == (error <= 0.1).mean()
    assert found.metrics["mean_year@5"].value == 1990 + found.metrics["mean_row@5"].value
    assert (
        found.metrics["first_hit@3"].low < found.metrics["first_hit@3"].value < found.metrics["first_hit@5"]
    )
    frame = found.to_frame()
    directions = dict(frame.select("metric", "higher_is_better").iter_rows())
    assert [directions[name] for name in ("within_capped", "worst", "first_hit@5", "loudest@3")] == [
        *(True, False, False),
        None,
    ]
    assert found.rating.slices["user"]["warm"].metrics["within"].value > 0
    assert "within" in repr(found)
    assert "first_hit@3" in found._repr_html_()


def test_models_are_compared_by_ones_own_metrics(labelled) -> None:
    model, train, test = labelled
    given = {"resamples": 100, "progress": False}
    rated = tt.compare(train, test, model, baselines=["biases"], metrics=[Within], **given).to_frame()
    row = rated.filter(metric="within", model="biases").row(0, named=True)
    assert row["higher_is_better"]
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    ranks = tt.TwoTower(dim=4, epochs=1, threads=1)
    ranked = tt.compare(train, test, ranks, baselines=["popularity"], metrics={"mine": FirstHit()}, **given)
    assert {"mine@10", "mine@20"} <= set(ranked.to_frame()["metric"])
    for one, kind in ((model, FirstHit), (ranks, Within)):
        with pytest.raises(ConfigError, match=f"metric '{kind.name}' is of "):
            tt.compare(train, test, one, metrics=[kind], **given)


def test_a_registered_metric_is_measured_everywhere(labelled, tmp_path, capsys) -> None:
    model, train, test = labelled
    fitted = model.fit(train, progress=False)
    with METRICS.temporarily(within=Within, first_hit=FirstHit, last_is_hit=LastHit, mean_year=MeanYear):
        found = fitted.evaluate(test, ks=(3, 5), resamples=100)
        assert found.metrics.keys() > {"within", "first_hit@5", "last_is_hit", "mean_year@3"}
        assert found.metrics["first_hit@3"] == found.to_frame().filter(metric="first_hit@3")["value"][0]
        assert higher_is_better("first_hit@5") is False
        print_evaluation(found.as_dict())
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines if "hit" in line][:2] == [
            ["hit", "rate"],
            ["first", "hit"],
        ]
        assert any(line.split()[0] == "within" for line in lines if line.strip())
        same = fitted.evaluate(test, metrics=[Within], ks=(3, 5), resamples=100)
        assert same.metrics == found.metrics
        stricter = fitted.evaluate(test, metrics=[Within(0.1)], ks=(3, 5), resamples=100)
        assert stricter.metrics["within"] < found.metrics["within"]
        bare = Dataset.of(test.interactions, schema={"user": "user", "item": "item", "label": "stars"})
        without = evaluate_model(fitted, bare, bare, PositiveRule(), exclude_seen=False, resamples=100)
        assert without.metrics.keys() & {"mean_year@10", "first_hit@10"} == {"first_hit@10"}
        with pytest.raises(ConfigError, match=r"metric 'mean_year' requires items.year, which the test set"):
            evaluate_model(fitted, bare, bare, PositiveRule(), metrics=[MeanYear])
        assert RankingValidator.of(test, train, PositiveRule(), metric="first_hit", k=5).measure.sign == -1.0
    assert "within" not in METRICS
    for name in ("within", "novelty", "rmse"):
        with pytest.raises(ConfigError, match=f"metric of lists with a direction and cut-offs, got '{name}'"):
            RankingValidator.of(test, train, PositiveRule(), metric=name)


class Broken(FirstHit):
    """Returns something else than a value per user and cut-off."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def values(self, top: Any) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (
            [Broken(np.zeros(3))],
            DataError,
            r"users at each cut-off, \(2, \d+\), or .* got shape",
        ),
        ([Broken(None)], DataError, "got None"),
        ([Broken], ConfigError, "metric Broken can't be made: .*given.*; give an object of it"),
        ([FirstHit, FirstHit()], ConfigError, "several are named 'first_hit'"),
        ([recall_at_7], ConfigError, r"got <function recall_at_7.*; write \{'recall_at_7': recall_at_7\}"),
        (recall_at_7, ConfigError, r"functions as \{name: function\}; got <function recall_at_7"),
        (["ndcg"], ConfigError, "metrics must be objects or subclasses of Metric"),
        ("ndcg", ConfigError, "metrics must be objects or subclasses of Metric.*; got 'ndcg'"),
        (7, ConfigError, "metrics must be objects or subclasses of Metric.*; got 7"),
        ({"ndcg": FirstHit}, ConfigError, "needs a name of its own, got 'ndcg'"),
    ],
)
def test_what_is_no_metric_is_refused(parts, metrics, error, message) -> None:
    with pytest.raises(error, match=message):
        measured(parts, metrics)


def test_one_metric_needs_no_list_and_a_key_is_its_name(parts) -> None:
    listed = measured(parts, [FirstHit]).metrics["first_hit@7"].value
    assert measured(parts, FirstHit).metrics["first_hit@7"].value == listed
    assert measured(parts, FirstHit()).metrics["first_hit@7"].value == listed
    named = measured(parts, {"y": FirstHit}).metrics
    assert named["y@7"].value == listed
    assert "first_hit@7" not in named


def test_a_class_is_registered_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"by the attribute `name` of its class.*got 'other' for Within"):
        METRICS.register(Within, "other")
