"""What a model is worth on held-out rows: by hand, for models that predict and that rank."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.evaluation import Predictor, Ranker, RankingValidator, RankRequest, RatingValidator, Validator
from twotower.evaluation.validator import NDCG, RMSE, are_cold, some_users
from twotower.metrics.bootstrap import user_draws
from twotower.targets.positive import PositiveRule

SCHEMA = {"label": "y"}


def events(*rows: tuple[int, int, float]) -> Dataset:
    return Dataset.of(
        pl.DataFrame(list(rows), schema=["user_id", "item_id", "y"], orient="row"), schema=SCHEMA
    )


TRAIN: TrainPart = events((1, 10, 1.0), (2, 20, 2.0), (3, 30, 5.0)).as_train()
HELD_OUT = events((2, 10, 2.0), (1, 20, 4.0), (1, 30, 1.0), (3, 10, 3.0))
RULE = PositiveRule.fit(TRAIN, PositiveConfig(threshold=2.0))


class Constant(Predictor):
    """Predicts one number; it has learned labels of at most 3."""

    name = "constant"

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, data: Dataset) -> NDArray[np.float64]:
        return np.full(len(data), self.value)

    def learned(self, data: Dataset) -> NDArray[np.float64]:
        return np.minimum(super().learned(data), 3.0)


class Fixed(Ranker):
    """Gives everybody the items in one order."""

    def __init__(self, *order: int) -> None:
        self.order = order

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        rows = queries.items.search_sorted(pl.Series(self.order)).to_numpy()
        barred = queries.barred
        found = np.full((len(queries.users), k), -1, dtype=np.int32)
        for user in range(len(queries.users)):
            kept = [row for row in rows if row not in barred[user]]
            found[user, : len(kept)] = kept[:k]
        return found


def test_squared_errors_by_user() -> None:
    validator = RatingValidator(HELD_OUT)
    totals = validator.totals(Constant(2.0))
    assert totals.tolist() == [4.0 + 1.0, 0.0, 1.0]
    assert validator.counts.tolist() == [2.0, 1.0, 1.0]
    assert validator.value(totals) == validator.worth(Constant(2.0)) == math.sqrt(6 / 4)


@pytest.mark.parametrize(
    ("cap", "expected"),
    [(None, [9, 1, 16, 4]), (2.5, [0.25, 0.0, 2.25, 0.0]), ("learned", [9, 4, 16, 4])],
)
def test_labels_are_capped_as_asked(cap: float | str | None, expected: list[float]) -> None:
    """Of predictions of 5: errors of the raw labels 2, 4, 1, 3; of 2, 2.5, 1, 2.5; and of 2, 3, 1, 3."""
    found = RatingValidator(HELD_OUT, cap).totals(Constant(5.0))
    assert found.tolist() == [expected[1] + expected[2], expected[0], expected[3]]


def test_ndcg_by_user() -> None:
    validator = RankingValidator.of(HELD_OUT, TRAIN, RULE)
    assert validator.measure == NDCG
    # user 1 has the positive 20, of 20 and 30; user 2 has 10, of 10 and 30; user 3 has 10, of 10 and 20
    totals = validator.totals(Fixed(30, 20, 10))
    assert totals == pytest.approx([1 / math.log2(3)] * 3)
    assert validator.worth(Fixed(30, 20, 10)) == pytest.approx(1 / math.log2(3))
    assert validator.worth(Fixed(20, 10, 30)) == pytest.approx((1 + 1 + 1 / math.log2(3)) / 3)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (RatingValidator(HELD_OUT), Constant(2.5), Constant(9.0)),
        (RankingValidator.of(HELD_OUT, TRAIN, RULE), Fixed(20, 10, 30), Fixed(30, 20, 10)),
    ],
)
def test_a_loss_is_above_0_whichever_way_is_better(validator: Validator, good: object, bad: object) -> None:
    draws = np.concatenate(list(user_draws(3, 200, 1)))
    before, after = validator.totals(good), validator.totals(bad)
    loss = validator.loss(before, after, draws)
    assert loss.value == abs(validator.worth(bad) - validator.worth(good)) > 0
    assert validator.measure.better(validator.worth(good), than=validator.worth(bad)) == loss.value
    of, counts = validator.measure.of, validator.counts
    expected = [abs(of(w @ before, w @ counts) - of(w @ after, w @ counts)) for w in draws]
    assert (loss.low, loss.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    same = validator.loss(before, before, draws)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_measures_know_their_direction() -> None:
    assert (NDCG.sign, RMSE.sign) == (1.0, -1.0)
    assert NDCG.better(0.5, than=0.25) == RMSE.better(0.25, than=0.5) == 0.25
    assert np.isnan(RMSE.of(np.zeros(1), np.zeros(1))).all()


def test_positives_are_cold_if_none_is_in_training() -> None:
    assert are_cold(events((1, 40, 1.0), (1, 50, 1.0)), TRAIN)
    assert not are_cold(events((1, 40, 1.0), (1, 10, 1.0)), TRAIN)


def test_some_users_keep_all_their_rows() -> None:
    some = some_users(HELD_OUT, 2, 0)
    users = some.interactions["user_id"].unique().to_list()
    assert len(users) == 2
    assert some.interactions.height == HELD_OUT.interactions.filter(pl.col("user_id").is_in(users)).height
    assert some_users(HELD_OUT, 3, 0) is HELD_OUT
