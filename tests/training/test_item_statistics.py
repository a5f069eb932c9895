"""Statistics of items on the day of a query: counted by hand, nothing of that day or later; and the loss."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch
import torch.nn.functional as F

import twotower as tt
from twotower.config.schema import Schema
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.estimator.setup import TrainingSetup, prepare
from twotower.features.item_statistics import AGES, DAY, ItemStatistics
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.training.sequences import Sequences

START = 18_000 * DAY
ITEMS = [10, 20, 30]
HAD = [(0.3, 10), (0.9, 20), (1.0, 10), (1.5, 10), (3.2, 30)]
"""Days after the start, and items."""


def counted(had: list[tuple[float, int]] = HAD, **schema: Any) -> ItemStatistics:
    days = np.array([day for day, _ in had])
    events = pl.DataFrame(
        {"user_id": [1] * len(had), "item_id": [i for _, i in had], "at": START + days * DAY}
    )
    items = pl.DataFrame({"item_id": ITEMS, "out": [START, START - 30 * DAY, None]})
    given = {"timestamp": "at", "recent_days": (1, 2), "items": {"out": "timestamp"}} | schema
    data = Dataset.of(events, items=items, schema=given)
    found = ItemStatistics.of(data, data.items, Vocabulary(data.items["item_id"]))
    assert found is not None
    return found


def share(count: int, among: int) -> float:
    return math.log(1 + 3 * count / among)


def test_counts_are_those_before_the_midnight() -> None:
    found = counted()
    moments = START + np.array([-5, 0.2, 1.0, 1.7, 2.4, 3.9, math.nan]) * DAY
    points = found.before(moments)
    assert points.tolist() == [0, 0, 1, 1, 2, 3, 0]
    nothing = [[0, 0]] * 3
    at_one = [[share(1, 2)] * 2, [share(1, 2)] * 2, [0, 0]]
    at_two = [[share(2, 2), share(3, 4)], [0, share(1, 4)], [0, 0]]
    at_three = [[0, share(2, 2)], [0, 0], [0, 0]]
    expected = [nothing, nothing, at_one, at_one, at_two, at_three, nothing]
    npt.assert_allclose(found.at(points), expected, rtol=1e-6)
    # what an index is built with: all of the training set, windows back from its last event
    npt.assert_allclose(found.now, [[0, share(1, 2)], [0, 0], [share(1, 1), share(1, 2)]], rtol=1e-6)


@pytest.mark.parametrize("day", [1.0, 2.7, 3.2])
def test_nothing_of_the_day_or_later_counts(day: float) -> None:
    before = [one for one in HAD if one[0] < math.floor(day)]
    later = [(math.floor(day) + 0.01, 30)] * 5 + [(9.0, 20)]
    whole, other = counted(), counted([*before, *later])
    for found in (whole, other):
        npt.assert_array_equal(
            found.at(found.before(np.array([START + day * DAY]))),
            whole.at(whole.before(np.array([START + day * DAY]))),
        )


def test_ages_are_on_the_midnight_and_unknown_ones_are_nothing() -> None:
    found = counted(recent_days=(), item_age="out")
    (values,) = found.at(found.before(np.array([START + 3.5 * DAY])))
    assert values.shape == (3, len(AGES))
    npt.assert_allclose(values[0], [1, 1, 0, 0, 0, 0], atol=1e-6)  # three days old: past one and three
    passed = (math.log(34) - math.log(31)) / (math.log(91) - math.log(31))
    npt.assert_allclose(values[1], [1, 1, 1, 1, passed, 0], rtol=1e-5)
    assert not values[2].any()


def test_a_daily_value_counts_from_the_day_after_it() -> None:
    first, second = date(2019, 4, 14), date(2019, 4, 15)
    assert datetime(2019, 4, 14, tzinfo=UTC).timestamp() == START
    rows = [(first, 20, 1.0), (second, 10, 4.0), (first, 10, 2.0), (second, 20, None)]
    table = pl.DataFrame(rows, schema=["date", "item_id", "value"], orient="row")
    lists = table.group_by("item_id").agg(pl.struct("date", "value").alias("plays"))
    had = pl.DataFrame({"user_id": [1, 1], "item_id": [10, 10], "at": [START + 0.5 * DAY, START + 2.1 * DAY]})
    items = pl.DataFrame({"item_id": ITEMS}).join(lists, on="item_id", how="left")
    data = Dataset.of(had, items=items, schema={"timestamp": "at", "daily": {"plays": "number"}})
    found = ItemStatistics.of(data, data.items, Vocabulary(data.items["item_id"]))
    assert found is not None
    mean, sd = np.mean([1, 2, 4]), np.std([1, 2, 4])
    two, four, one = ([(value - mean) / sd, 1.0] for value in (2, 4, 1))
    nothing = [0.0, 0.0]
    at = found.at(found.before(START + np.array([0.9, 1.0, 2.5]) * DAY))
    expected = [[nothing] * 3, [two, one, nothing], [four, one, nothing]]
    npt.assert_allclose(at, expected, atol=1e-6)
    again = Dataset.of(data.interactions, items=data.items, schema=data.schema)
    assert again.items.equals(data.items)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[1.0], [2.0]], r"must be lists of \{date, value\}, not List"),
        ([[{"date": "2019-04-14", "value": "many"}], []], "data row 1, column 'plays' has 'many'"),
        ([[], [{"date": "someday", "value": "1"}]], "data row 2, column 'plays' has 'someday'"),
    ],
)
def test_a_daily_column_of_another_form_is_refused(column: list[Any], said: str) -> None:
    items = pl.DataFrame({"item_id": [1, 2], "plays": column})
    frame = pl.DataFrame({"user_id": [1], "item_id": [1], "at": [START]})
    schema = {"timestamp": "at", "daily": {"plays": "number"}}
    with pytest.raises(DataError, match=said):
        Dataset.of(frame, items=items, schema=schema, sources={"items": "items.csv"})


def events(n: int = 1200) -> pl.DataFrame:
    """What is popular changes every five days."""
    rng = np.random.default_rng(0)
    day = np.sort(rng.integers(0, 40, n))
    item = np.where(rng.random(n) < 0.8, day // 5 * 3 + rng.integers(0, 3, n), rng.integers(0, 30, n))
    at = START + day * DAY + rng.integers(0, 86_400, n)
    return pl.DataFrame({"user_id": rng.integers(0, 150, n), "item_id": item, "at": at})


def parts(**schema: Any) -> tuple[Any, Dataset]:
    data = Dataset.of(events(), schema={"timestamp": "at", "recent_days": (1, 3)} | schema)
    return tt.split(data, "temporal", test=0.1)


SETTINGS: dict[str, Any] = {
    "kind": "sequence",
    "dim": 8,
    "pooling": ("decay",),
    "rates": (0.5,),
    "threads": 1,
}


@pytest.fixture(scope="module")
def setup() -> TrainingSetup:
    train, _ = parts()
    settings = tt.TwoTower(**SETTINGS, dropout=0.0, batch_size=100).settings
    return prepare(settings, train, PositiveRule.fit(train, settings.positive), torch.device("cpu"))


def test_each_query_is_scored_with_the_statistics_of_its_own_day(setup: TrainingSetup) -> None:
    trainer, task = setup.trainer, setup.task
    assert isinstance(trainer, Sequences)
    assert task.statistics is not None
    model, weights = task.model, task.model.items.statistics
    assert isinstance(weights, torch.nn.Parameter)
    with torch.no_grad():
        weights.copy_(torch.tensor([0.7, -0.4]))
    batch = next(iter(trainer.batches.epoch(1)))
    loss = trainer.step(batch, 0.0)  # at rate 0 nothing moves
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    U = model.vectors_of(model.users.positions(batch.users, batch.row, batch.at), "users")
    added = torch.stack(
        [
            torch.from_numpy(task.statistics.at(task.statistics.before(np.array([time]))))[0] @ weights
            for time in batch.time
        ]
    )
    scores = U @ model.item_vectors(task.items).T + added  # (queries, items)
    own = F.cross_entropy(scores[batch.pairs.user], torch.from_numpy(batch.pairs.item).long())
    assert loss == pytest.approx(own.item(), rel=1e-5)
    own.backward()
    for name in ("items.statistics", "users.norm.weight"):
        expected = dict(model.named_parameters())[name].grad
        assert expected is not None
        npt.assert_allclose(found[name].numpy(), expected.numpy(), rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def model() -> Recommender:
    train, later = parts()
    made = tt.TwoTower(**SETTINGS, epochs=4, batch_size=64, learning_rate=0.02, refit=False)
    return made.fit(train, later, progress=False)


def test_what_is_popular_now_is_recommended(model: Recommender, tmp_path: Path) -> None:
    someone = tt.Query(features={})
    last = set(model.recommend(someone, 3)["item_id"])
    assert len(last & {21, 22, 23}) >= 2  # those of the last days of the training set
    weights: Any = model.model.items.statistics
    assert weights[0] > 0.05
    model.save(tmp_path / "bundle")
    again = tt.load(tmp_path / "bundle")
    npt.assert_array_equal(again.items.vectors, model.items.vectors)
    npt.assert_allclose(again.encode_queries(someone), model.encode_queries(someone), atol=1e-6)


def test_the_items_have_those_of_the_end_of_the_training_set(model: Recommender) -> None:
    train, _ = parts()
    found = ItemStatistics.of(train, train.items, Vocabulary(model.items.ids))
    assert found is not None
    weights: Any = model.model.items.statistics
    bare = model.encode_items(pl.DataFrame({"item_id": [99]}))[0, -1]  # neither id nor statistics
    ids: Any = model.model.items.ids
    own = ids.weight[:, -1].detach().numpy()
    warm = model.encoder.items.rows(model.items.ids)
    expected = bare + np.where(warm >= 0, own[warm], 0.0) + found.now @ weights.detach().numpy()
    npt.assert_allclose(model.items.vectors[:, -1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"recent_days": (7,)}, "recent_days needs the time of each interaction; set timestamp"),
        ({"timestamp": "at", "item_age": "out"}, r"'out', which is not there; write out = 'timestamp' there"),
        ({"timestamp": "at", "items": {"out": "number"}, "item_age": "out"}, "which is of kind 'number'"),
        ({"timestamp": "at", "recent_days": (0,)}, "recent_days"),
        ({"daily": {"plays": "number"}}, "daily needs the time of each interaction"),
        ({"timestamp": "at", "daily": {"plays": "text"}}, "is a 'number' or a 'log_number', got 'text'"),
    ],
)
def test_what_it_needs_is_said(schema: dict[str, Any], said: str) -> None:
    frame = events(10)
    with pytest.raises(ConfigError, match=said):
        Dataset.of(frame, items=frame.select("item_id").unique(), schema=Schema(**schema))


def test_kinds_that_can_not_read_it_refuse_it() -> None:
    train, _ = parts()
    with pytest.raises(ConfigError, match=r"schema.recent_days \(1.0, 3.0\) is read by towers of kind"):
        tt.TwoTower(kind="linear").fit(train, progress=False)
