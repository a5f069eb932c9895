"""A ranking beside popularity: counted by hand, the better of two counts, and the verdict in words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.config import PositiveConfig
from twotower.core import lists
from twotower.data.dataset import Dataset
from twotower.data.store import StoredEvents, StoredTrain
from twotower.evaluation import ByPopularity, evaluate_model
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.objectives import AllPairs
from twotower.targets.positive import PositiveRule

SCHEMA = {"label": "y"}


def rated(rows: list[tuple[int, int, float]], schema: dict[str, Any] | None = None) -> Dataset:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "y"], orient="row")
    return Dataset.of(frame, schema=SCHEMA if schema is None else schema)


class Always(Ranker):
    """Gives everybody the same items, without what is barred."""

    name = "always"

    def __init__(self, *items: int) -> None:
        self.items = items

    def rank(self, queries: RankRequest, k: int) -> np.ndarray:
        rows = queries.items.to_list()
        found = np.full((len(queries.users), k), -1, dtype=np.int32)
        for user in range(len(queries.users)):
            shut = set(queries.barred[user].tolist())
            order = [rows.index(item) for item in self.items]
            order += [row for row in range(len(rows)) if row not in order]
            own = [row for row in order if row not in shut][:k]
            found[user, : len(own)] = own
        return found


TRAIN = rated(
    [(1, 10, 5.0), (2, 10, 5.0), (3, 10, 1.0), (1, 11, 1.0), (2, 11, 1.0), (3, 12, 4.0), (3, 12, 4.0)]
)


@pytest.mark.parametrize("block", [None, 1, 100])
def test_items_count_by_their_users_and_by_their_highest_grades(
    block: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, train = PositiveRule.fit(TRAIN.as_train(), PositiveConfig(threshold=4.0)), TRAIN
    if block is not None:  # on disk
        monkeypatch.setattr(lists, "BLOCK", block)
        events = StoredEvents.of(TRAIN.as_train(), tmp_path / "events")
        train = StoredTrain(events, TRAIN.users, TRAIN.items, TRAIN.schema)
    positives, grades = ByPopularity.each(train, rule, 0.2)
    assert (positives.counted, grades.counted) == ("positives", "grades")
    assert dict(positives.worth.iter_rows()) == {10: 2, 12: 1}  # a user counts once
    # ranks of 1, 4 and 5 among seven labels, the mean of equal ones: from 0 to 1
    low, middle, high = (0.2 + 0.8 * rank for rank in rule.grades(np.array([1.0, 4.0, 5.0]), None))
    worth = dict(grades.worth.iter_rows())
    assert worth == pytest.approx({10: 2 * high + low, 11: 2 * low, 12: middle})
    assert low < middle < high
    _, alike = ByPopularity.each(TRAIN, rule, 1.0)
    assert dict(alike.worth.iter_rows()) == {10: 3, 11: 2, 12: 1}


def test_the_grades_are_those_that_the_objective_learns_from() -> None:
    # 10 was liked by one user, 11 disliked by two: which of them is more popular is up to the least grade.
    train = rated([(9, 10, 5.0), (8, 11, 1.0), (7, 11, 1.0)])
    test = rated([(user, 11, 5.0) for user in range(5)])
    rule = PositiveRule.fit(train.as_train(), PositiveConfig(threshold=4.0))
    for floor, value in ((0.0, 0.0), (1.0, 1.0)):
        least = AllPairs.Config(min_grade=floor).least_grade
        found = evaluate_model(
            Always(10), test, train, rule, rating=False, ks=(1,), least_grade=least, resamples=100
        ).popularity
        assert found is not None
        assert found.metrics["ndcg@1"].value == value


def test_without_labels_every_interaction_counts() -> None:
    train = rated([(1, 10, 0.0), (2, 10, 0.0), (1, 11, 0.0)], {})
    (only,) = ByPopularity.each(train, PositiveRule(), 0.2)
    assert dict(only.worth.iter_rows()) == {10: 2, 11: 1}


def many(popular_last: bool) -> tuple[Dataset, Dataset]:
    """200 users whose held-out item is 20; in train users from 300 on have 20 often, 21 hardly ever."""
    common, rare = (21, 20) if popular_last else (20, 21)
    train = [(user, common, 5.0) for user in range(300, 600)] + [(300, rare, 5.0)]
    train += [(user, 22 + user % 3, 5.0) for user in range(200)]
    return rated(train), rated([(user, 20, 5.0) for user in range(200)])


@pytest.mark.parametrize(
    ("items", "popular_last", "verdict", "begins"),
    [
        (
            (20,),
            True,
            "better",
            "Its ranking is better than popularity: NDCG@1 1.0000 against 0.0000, +1.0000 [+1",
        ),
        (
            (22, 23),
            False,
            "worse",
            "WARNING: its ranking is worse than popularity: NDCG@1 0.0000 against 1.0000, -1",
        ),
        (
            (20,),
            False,
            "same",
            "Its ranking is just as good as popularity: NDCG@1 1.0000 against",
        ),
    ],
)
def test_the_verdict_is_that_of_the_paired_interval(
    items: tuple[int, ...], popular_last: bool, verdict: str, begins: str
) -> None:
    train, test = many(popular_last)
    found = evaluate_model(
        Always(*items), test, train, PositiveRule(), rating=False, ks=(1, 2), resamples=100
    )
    assert found.popularity is not None
    assert found.popularity.verdict == verdict
    assert found.popularity.says.startswith(begins)
    shown = found.as_dict()["popularity"]
    assert shown["verdict"] == verdict
    assert set(shown["difference"]) == set(shown["metrics"]) == {"ndcg@1", "ndcg@2", "recall@1", "recall@2"}
    assert shown["difference"]["ndcg@1"]["value"] == pytest.approx(
        found.metrics["ndcg@1"].value - shown["metrics"]["ndcg@1"]["value"]
    )


def test_one_user_tells_nothing() -> None:
    train, test = many(True)
    alone = test.with_interactions(test.interactions.head(1))
    found = evaluate_model(Always(20), alone, train, PositiveRule(), rating=False, ks=(1,), resamples=100)
    assert found.popularity is not None
    assert math.isnan(found.popularity.difference["ndcg@1"].low)
    assert found.popularity.verdict == "unclear"
    assert found.popularity.says.endswith("NDCG@1 1.0000 against 0.0000, +1.0000.")


def test_popularity_is_not_given_what_was_seen_either() -> None:
    train = rated([(1, 10, 1.0), (2, 10, 1.0), (3, 10, 1.0), (3, 11, 1.0)])
    test = rated([(1, 10, 1.0), (1, 11, 1.0)])
    how: dict[str, Any] = {"rating": False, "ks": (1,), "resamples": 100}
    new = evaluate_model(Always(10), test, train, PositiveRule(), **how)
    again = evaluate_model(Always(10), test, train, PositiveRule(), exclude_seen=False, **how)
    assert new.popularity is not None
    assert again.popularity is not None
    assert (new.ranking.positives, again.ranking.positives) == (1, 2)  # type: ignore[union-attr]
    assert new.popularity.metrics["recall@1"].value == 1.0  # 11, since 10 is barred
    assert again.popularity.metrics["recall@1"].value == 0.5
    assert new.ranking.left_out["seen"] == 1  # type: ignore[union-attr]
    assert "1 of 2 test positives (50%) are left out of the ranking" in new.notes[0]
    assert "evaluation.exclude_seen = false" in new.notes[0]
    assert not [note for note in again.notes if "left out" in note]
