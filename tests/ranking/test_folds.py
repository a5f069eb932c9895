"""What the towers of a fold learn from never has what the ranker is to rank."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

import twotower as tt
from two_stage_data import RANKER, SETTINGS, data, two_stages
from twotower.config.ranker import RankerConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, DataError
from twotower.estimator import second_stage
from twotower.estimator.fitting import Fit
from twotower.ranking.folds import Fold, check_unseen, folds


def test_in_the_order_of_time_the_towers_learn_from_what_was_before() -> None:
    train = two_stages().train
    found = list(folds(train, RankerConfig(folds=3, held_out=0.1), seed=1))
    times = np.sort(train.times())
    assert [len(fold.held) for fold in found] == pytest.approx([0.1 * len(train)] * 3, abs=2)
    assert found[-1].held.times().max() == times[-1]
    for fold in found:
        assert fold.train.times().max() < fold.held.times().min()
        check_unseen(fold.train, fold.held, by_time=True)
    for before, after in pairwise(found):
        assert len(after.train) == len(before.train) + len(before.held)


def test_without_times_each_fold_has_other_rows_of_each_user() -> None:
    rows = pl.DataFrame({"user_id": [1] * 20 + [2] * 40 + [3], "item_id": list(range(61))})
    train = Dataset.of(rows, schema={}).as_train()
    found = list(folds(train, RankerConfig(folds=4, held_out=0.2), seed=1))
    held = [fold.held.interactions for fold in found]
    assert len(pl.concat(held)) == len(pl.concat(held).unique())  # no row in two folds
    for fold, own in zip(found, held, strict=True):
        assert own["user_id"].value_counts(sort=True)["count"].to_list() == [8, 4]  # not of whom has one row
        assert len(fold.train) + len(own) == len(train)
        check_unseen(fold.train, fold.held, by_time=False)
    again = list(folds(train, RankerConfig(folds=4, held_out=0.2), seed=1))
    assert [len(fold.held) for fold in again] == [len(own) for own in held]
    assert again[0].held.interactions.equals(held[0])


def test_a_planted_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, _, _ = two_stages()

    def leaking(train: TrainPart, *given: Any) -> list[Fold]:
        (fold,) = folds(train, RankerConfig(folds=1), *given[1:])
        one = fold.train.joined(fold.held.with_interactions(fold.held.interactions.head(1)))
        return [Fold(one, fold.held)]

    monkeypatch.setattr(second_stage, "folds", leaking)
    with pytest.raises(DataError, match=r"1 of .* are known to them, for example \(.*fold's training set"):
        tt.TwoTower(**SETTINGS).fit(train, validation, ranker=RANKER, progress=False)


def test_a_later_event_is_refused_where_time_decides() -> None:
    (fold,) = folds(two_stages().train, RankerConfig(folds=1), 1)
    last = fold.held.interactions.tail(1).with_columns(item_id=pl.lit(0, dtype=pl.Int64))
    late = fold.train.with_interactions(pl.concat([fold.train.interactions, last]))
    check_unseen(late, fold.held, by_time=False)
    with pytest.raises(DataError, match="must be made of what was before"):
        check_unseen(late, fold.held, by_time=True)


def test_what_can_not_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 3]})
    train = Dataset.of(rows, schema={}).as_train()
    with pytest.raises(DataError, match=r"got 3 and 0 of 3; change ranker\.held_out"):
        list(folds(train, RankerConfig(), 1))
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "run", None)  # before the towers are trained
        with pytest.raises(DataError, match=r"got 3 and 0 of 3; change ranker\.held_out"):
            tt.TwoTower(kind="linear").fit(train, train, ranker={})
    with pytest.raises(ConfigError, match=r"ranker\.order 'time' needs the time of each interaction"):
        list(folds(train, RankerConfig(order="time"), 1))
    with pytest.raises(ConfigError, match=r"folds \* held_out must be at most 0.8, got 5 \* 0.2"):
        tt.TwoTower().fit(data().as_train(), ranker={"folds": 5, "held_out": 0.2})
    with pytest.raises(ConfigError, match="objective 'squared' predicts a label"):
        tt.TwoTower(objective="squared").fit(data().as_train(), ranker={})
