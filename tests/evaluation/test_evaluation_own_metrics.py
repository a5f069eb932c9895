"""A user's own metrics: what their functions get, and what they may return."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_evaluation_model import Scores

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation import evaluate_model, ranking_task
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
        (lambda lists, right: ["a"] * len(lists), "got shape"),
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
