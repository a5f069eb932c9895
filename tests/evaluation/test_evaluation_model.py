"""`evaluate_model`: what is measured of which model, among which candidates."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation import (
    RankingTask,
    evaluate_model,
    evaluate_ranking,
    evaluate_rating,
    held_out_task,
)
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.targets.positive import PositiveRule


class Scores(Predictor, Ranker):
    """Predicts, and ranks by, a number that the ids decide."""

    name = "scores"

    @staticmethod
    def score(users: pl.Series, items: pl.Series) -> np.ndarray:
        return 3 + np.sin(12.9898 * users.to_numpy() + 78.233 * items.to_numpy())

    def predict(self, data: Dataset) -> np.ndarray:
        return self.score(data.interactions["user"], data.interactions["item"])

    def rank(self, queries: RankRequest, k: int) -> np.ndarray:
        found = np.full((len(queries.users), k), -1, dtype=np.int32)
        for row, user in enumerate(queries.users):
            scores = self.score(pl.Series([user] * len(queries.items)), queries.items)
            scores[queries.barred[row]] = -np.inf
            order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()][:k]
            found[row, : len(order)] = order
        return found


@pytest.fixture(scope="module")
def case() -> tuple[Dataset, Dataset]:
    """Train and test over 12 users and 25 items; the last five items are in no test row."""
    rng = np.random.default_rng(3)
    cells = rng.permutation(12 * 25)[:180]
    frame = pl.DataFrame({"user": cells // 25, "item": cells % 25, "stars": rng.integers(1, 6, 180)})
    schema = Schema(user="user", item="item", label="stars")
    items = pl.DataFrame({"item": np.arange(25)})
    train = frame[:100]
    test = frame[100:].filter(pl.col("item") < 20)
    return tuple(Dataset.of(part, items=items, schema=schema) for part in (train, test))  # type: ignore[return-value]


GOOD = PositiveRule(threshold=4.0)


def test_both_are_measured_and_are_what_each_is_alone(case) -> None:
    train, test = case
    found = evaluate_model(Scores(), test, train, GOOD, cap=4.0, ks=(3, 5), resamples=50, seed=1)
    rating = evaluate_rating(Scores(), test, train, cap=4.0, resamples=50, seed=1)
    positives = test.with_interactions(test.interactions.filter(pl.col("stars") >= 4))
    ranking = evaluate_ranking(Scores(), positives, train, ks=(3, 5), resamples=50, seed=1)
    assert found.rows == len(test)
    assert found.metrics == {**rating.metrics, **ranking.metrics}
    assert found.notes == ()
    shown = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert shown["rating"]["mae"] == rating.metrics["mae"].as_dict()
    assert shown["ranking"]["ndcg@5"] == ranking.metrics["ndcg@5"].as_dict()
    assert shown["slices"] == {
        "rating": rating.as_dict()["slices"],
        "ranking": ranking.as_dict()["slices"],
    }
    assert set(found.slices) == {"rating", "ranking"}
    of = ranking.as_dict()
    assert shown["ranked"] == {name: of[name] for name in ("users", "items", "positives", "left_out")}


def test_what_is_not_asked_for_is_empty(case) -> None:
    train, test = case
    shown = evaluate_model(Scores(), test, train, GOOD, ranking=False, resamples=10).as_dict()
    assert (shown["ranking"], shown["ranked"], list(shown["slices"])) == ({}, {}, ["rating"])
    shown = evaluate_model(Scores(), test, train, GOOD, rating=False, resamples=10).as_dict()
    assert (shown["rating"], list(shown["slices"])) == ({}, ["ranking"])
    with pytest.raises(ConfigError, match="evaluated by its ranking, which is switched off"):
        evaluate_model(Scores(), test, train, GOOD, rating=False, ranking=False)


def test_no_positive_is_a_note_beside_labels_and_an_error_without(case) -> None:
    train, test = case
    rule = PositiveRule(threshold=9.0)
    found = evaluate_model(Scores(), test, train, rule, resamples=10)
    assert found.ranking is None
    assert "mae" in found.metrics
    (note,) = found.notes
    assert note.startswith("ranking was not measured: there must be at least one positive (a label of at")
    assert "Labels range from 1 to 5" in note
    with pytest.raises(DataError, match=r"at least 9\).*got none .* from 1 to 5, with median"):
        evaluate_model(Scores(), test, train, rule, rating=False)


@pytest.mark.parametrize("candidates", ["all", "test_items", "test_pairs"])
def test_candidates_by_name_are_those_pairs(case, candidates: str) -> None:
    train, test = case
    task = held_out_task(test, train, GOOD, ks=(4,), candidates=candidates)
    ids = {"all": range(25), "test_items": test.interactions["item"].unique()}
    pairs = (
        test.interactions.select("user", "item")
        if candidates == "test_pairs"
        else pl.DataFrame({"user": range(12)}).join(pl.DataFrame({"item": ids[candidates]}), how="cross")
    )
    positives = test.with_interactions(test.interactions.filter(pl.col("stars") >= 4))
    same = RankingTask.prepare(positives, train, ks=(4,), candidates=pairs.cast(pl.Int64))
    assert task.items.to_list() == same.items.to_list()
    assert len(task.items) == (25 if candidates == "all" else 20)
    assert task.measure(Scores()) == pytest.approx(same.measure(Scores()))
    assert task.left_out == same.left_out


def test_positives_outside_the_items_are_left_out(case) -> None:
    train, test = case
    positives = GOOD.select(test)
    some = pl.Series([0, 1, 2, 3, 3, 24])
    task = RankingTask.prepare(positives, train, ks=(4,), candidates=some)
    inside = positives.interactions["item"].is_in([0, 1, 2, 3, 24]).sum()
    assert task.items.to_list() == [0, 1, 2, 3, 24]
    assert (len(task.relevant.values), task.left_out["not_candidates"]) == (inside, len(positives) - inside)
    with pytest.raises(DataError, match="ids of candidates must have the type of the training set"):
        RankingTask.prepare(positives, train, candidates=pl.Series(["a"]))


def test_unknown_candidates_suggest_the_nearest(case) -> None:
    train, test = case
    with pytest.raises(ConfigError, match=r"got 'test_item'\. Did you mean 'test_items'\?"):
        held_out_task(test, train, GOOD, candidates="test_item")


def test_a_metric_that_was_not_measured_says_which_were(case) -> None:
    train, test = case
    found = evaluate_model(Scores(), test, train, GOOD, ks=(5,), resamples=10).metrics
    with pytest.raises(KeyError, match=r"no metric 'NDCG@5'\. Did you mean 'ndcg@5'"):
        found["NDCG@5"]
    with pytest.raises(KeyError, match=r"no metric 'serendipity@20'.*evaluate\(test, ks=\.\.\.\)"):
        found["serendipity@20"]
    assert found.get("serendipity@20") is None


def test_metrics_show_a_line_each_and_few_of_many(case) -> None:
    train, test = case
    found = evaluate_model(Scores(), test, train, GOOD, rating=False, ks=(3, 5), resamples=10).metrics
    assert repr(found).splitlines()[0] == f"recall@3: {found['recall@3']}"
    many = evaluate_model(Scores(), test, train, GOOD, rating=False, ks=(1, 2, 3, 5), resamples=10).metrics
    assert len(repr(many).splitlines()) == 21
    assert repr(many).endswith(f"{len(many) - 20} more in .to_frame()")
