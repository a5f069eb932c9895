"""The context in which queries are asked: what is read, what is refused, and that none of it is lost."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

import twotower as tt
from context_data import DAY, HOUR, SCHEMA, START, data, events, fitted, group
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.estimator.setup import prepare
from twotower.evaluation.ranking_task import RankingTask
from twotower.export import export_onnx
from twotower.features import Encoder
from twotower.kernels.pairs import Pairs
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.towers import SideArrays
from twotower.training.queries import TrainQueries
from twotower.training.user_batches import UserBatches

LATER = START + 60 * DAY


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


def asked(device: str | None = "tv", hour: int = 3, **more: Any) -> tt.Query:
    context = None if device is None else {"device": device}
    return tt.Query(**({"user": 3, "context": context, "at": LATER + hour * HOUR} | more))


@pytest.mark.parametrize("device", ["tv", "phone"])
@pytest.mark.parametrize("hour", [2, 9, 13, 22])
@pytest.mark.parametrize("who", [{}, {"user": None, "history": [1, 9]}, {"user": None, "features": {}}])
def test_the_device_and_the_hour_decide_what_is_recommended(
    model: Recommender, device: str, hour: int, who: dict[str, Any]
) -> None:
    found = model.recommend(asked(device, hour, **who), 4, exclude_seen=False)
    assert set(found["item_id"]) == group(device, hour)


def test_many_queries_have_the_vectors_of_each_alone(model: Recommender) -> None:
    queries = [
        asked("tv", 3),
        asked("phone", 13),
        asked("phone", 20, user=None, history=[1, 2]),
        asked("sofa", 20, user=None, features={}),
    ]
    with pytest.warns(TwoTowerWarning, match="values of the context are not known"):
        together = model.encode_queries(queries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = np.concatenate([model.encode_queries(query) for query in queries])
    npt.assert_allclose(together, alone, atol=1e-6)
    table = pl.DataFrame(
        {
            "user": [3, 3],
            "context": [{"device": "tv"}, {"device": "phone"}],
            "at": [LATER + 3 * HOUR, LATER + 13 * HOUR],
        }
    )
    npt.assert_allclose(model.encode_queries(tt.Queries.of(table)), together[:2], atol=1e-6)


def test_the_vector_is_that_without_context_plus_a_linear_function(model: Recommender) -> None:
    tower = model.model.users
    table = pl.DataFrame({"device": ["tv"], "at": [LATER + 3 * HOUR]})
    side = SideArrays.pack(model.encoder.context.transform(table), torch.device("cpu"))
    with torch.no_grad():
        added = tower.context.from_features(side)[0].numpy()  # type: ignore[union-attr, operator]
    row = int(model.users.rows(pl.Series([3]))[0])
    vector = model.encode_queries(asked())[0]
    npt.assert_allclose(vector[: len(added)], model.users.vectors[row][: len(added)] + added, atol=1e-5)


def test_what_is_left_out_is_missing_and_said(model: Recommender) -> None:
    for query in (asked(None), asked(None, context={})):
        with pytest.warns(TwoTowerWarning, match=r"1 request leaves out .* device \(1\)"):
            bare = model.encode_queries(query)
        with pytest.warns(TwoTowerWarning, match=r"2 requests leave out .* device \(1\)"):
            two = model.encode_queries([query, asked()])
        npt.assert_allclose(bare[0], two[0], atol=1e-6)
    assert np.abs(two[0] - two[1]).max() > 0.1


def test_now_is_the_time_of_a_query_without_one(model: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: LATER + 13 * HOUR)
    now = model.encode_queries(asked("tv", at=None))
    npt.assert_allclose(now, model.encode_queries(asked("tv", 13)), atol=1e-6)
    assert np.abs(now - model.encode_queries(asked("tv", 3))).max() > 0.1


def test_an_unknown_column_and_the_timestamp_are_refused(model: Recommender) -> None:
    with pytest.raises(DataError, match=r"columns of \[schema.context\] \(device\); got 'devise'.*'device'"):
        model.recommend(asked(context={"devise": "tv"}))
    with pytest.raises(DataError, match="is its 'at'; leave 'at' out"):
        model.recommend(asked(context={"at": 3.0}))
    with pytest.raises(DataError, match="context are a dict"):
        tt.Query(user=3, context=["tv"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="context are a column of structs"):
        tt.Queries.of(pl.DataFrame({"user": [3], "context": ["tv"]}))


def test_a_bundle_keeps_it(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "bundle")
    again = tt.load(tmp_path / "bundle")
    assert again.encoder.schema == model.encoder.schema
    npt.assert_allclose(again.encode_queries(asked()), model.encode_queries(asked()), atol=1e-6)


def test_explanations_add_up_in_context(model: Recommender) -> None:
    query = asked("phone", 13, user=None, history=[1, 9, 13])
    found = model.explain(query, [12, 0])
    scores = model.encode_queries(query)[0] @ model.items.vectors[[12, 0]].T
    for item, score in zip((12, 0), scores, strict=True):
        own = found.filter(pl.col("item_id") == item)
        assert own["contribution"].sum() + own["base"][0] == pytest.approx(score, abs=1e-4)


def test_evaluation_asks_in_the_context_of_the_first_positive() -> None:
    schema = Schema(timestamp="at", context={"device": "category", "at": "calendar"})
    columns = ["user_id", "item_id", "at", "device"]
    train = Dataset.of(
        pl.DataFrame([(1, 7, 1.0, "a"), (2, 8, 1.0, "a")], schema=columns, orient="row"), schema=schema
    )
    held = [(2, 7, 9.0, "late"), (1, 8, 5.0, "one"), (2, 9, 8.0, "early"), (2, 6, None, "untimed")]
    test = Dataset.of(pl.DataFrame(held, schema=columns, orient="row"), schema=schema)
    task = RankingTask.prepare(test, train)
    assert task.context is not None
    assert task.users.to_list() == [1, 2]
    assert task.context.rows() == [("one", 5.0), ("early", 8.0)]


def test_evaluation_uses_it(model: Recommender) -> None:
    _, test = tt.split(data(), "leave_last")
    blind = Dataset.of(
        test.interactions.with_columns(pl.lit(None, dtype=pl.String).alias("device")), schema=SCHEMA
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen, unseen = (
            model.evaluate(one, ks=[10], exclude_seen=False, resamples=20).to_frame() for one in (test, blind)
        )
    values = [one.filter(pl.col("metric") == "ndcg@10")["value"][0] for one in (seen, unseen)]
    assert values[0] > values[1] + 0.1


def test_each_pair_of_the_same_second_is_asked_in_its_own_context() -> None:
    frame = pl.DataFrame(
        {"user_id": [0, 0, 0], "item_id": [0, 1, 2], "at": [5.0, 9.0, 9.0], "device": ["a", "b", "c"]}
    )
    train = Dataset.of(frame, schema=SCHEMA | {"context": {"device": "category"}}).as_train()
    encoder = Encoder.fit(train)
    cpu = torch.device("cpu")
    context = SideArrays.pack(encoder.context.transform(train.interactions), cpu)
    items = SideArrays.pack(encoder.items.transform(train.items), cpu)
    past = Pairs.from_arrays([0, 0, 0], [0, 1, 2], [1, 1, 1], time=frame["at"].to_numpy(), n_users=1)
    order = np.array([2, 0, 1])
    queries, query = TrainQueries.of(
        np.zeros(3, np.int64), frame["at"].to_numpy()[order], past, items, context.take(torch.tensor(order))
    )
    assert queries.seen()[query].tolist() == [1, 0, 1]  # none reads what is of its own second
    kept = queries.context_of(query)
    assert kept is not None
    assert torch.equal(kept.codes, context.codes[order])


def test_every_target_of_a_batch_has_the_context_of_its_own_event() -> None:
    """In the data the item tells the device and the half of the day, so a foreign context would show."""
    train = data().as_train()
    settings = tt.TwoTower(kind="sequence", dim=8).settings
    setup = prepare(settings, train, PositiveRule.fit(train, settings.positive), torch.device("cpu"))
    seen = 0
    for batch in UserBatches(setup.task, 50, 4, 200).epoch(1):
        assert batch.context is not None
        item = batch.items[batch.pairs.item] if batch.items is not None else batch.pairs.item
        ids = setup.encoder.items.warm_ids.to_numpy()[item]
        device = batch.context.codes[:, 0].numpy()[batch.pairs.user]
        first, last = batch.context.shape.ranges["device"]
        assert last - first == 4
        assert (device - first - 2 == (ids < 8)).all()  # phone, then tv
        (indptr, codes) = batch.context.bags[0]
        hour = codes.numpy()[indptr.numpy()[:-1]][batch.pairs.user] - 4 - 2
        assert ((hour >= 12) == (ids % 8 >= 4)).all()
        seen += len(ids)
    assert seen == len(setup.task.pairs) > 300


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"context": {"item_id": "category"}}, "'item_id' is the item; leave it out"),
        ({"label": "stars", "context": {"stars": "number"}}, "'stars' is the label"),
        (
            {"users": {"age": "number"}, "context": {"age": "number"}},
            r"\[schema.users\] and",
        ),
        ({"timestamp": "at", "context": {"at": "number"}}, "needs a kind of times .* got 'number'"),
        ({"context": {"device": "categry"}}, "category"),
    ],
)
def test_what_is_not_known_at_a_request_is_no_context(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Schema(**schema)


def test_a_wrong_value_is_refused_with_row_and_column() -> None:
    frame = events().head(3).with_columns(pl.Series("page", ["1", "2", "x"]))
    with pytest.raises(DataError, match=r"clicks\.csv, data row 3, column 'page'"):
        Dataset.of(frame, schema={"context": {"page": "number"}}, sources={"interactions": "clicks.csv"})
    with pytest.raises(DataError, match="has no column 'pages'"):
        Dataset.of(frame, schema={"context": {"pages": "number"}})


def test_how_its_text_is_read_is_kept_for_queries() -> None:
    frame = events().head(3).with_columns(pl.Series("price", ["1,5", "2,5", "0,25"]))
    found = Dataset.of(frame, schema={"context": {"price": "number"}}).schema
    assert found.context["price"].settings == {"decimal": ","}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"kind": "linear"},
            r"\(device, at\) is read by towers of kind 'sequence' or 'auto'",
        ),
        ({"kind": "item_item"}, "got model.kind = 'item_item'"),
        ({"kind": "sequence", "objective": "squared"}, "objective 'squared' predicts a label"),
    ],
)
def test_models_that_can_not_read_it_refuse_it(settings: dict[str, Any], said: str) -> None:
    train = data(label="item_number").as_train()
    with pytest.raises(ConfigError, match=said):
        tt.TwoTower(**settings).fit(train, progress=False)


def test_a_model_trained_without_refuses_a_context() -> None:
    frame = events()
    train = Dataset.of(frame, schema={}).as_train()
    model = tt.TwoTower(kind="linear", dim=8, epochs=1, threads=1, refit=False).fit(train, progress=False)
    with pytest.raises(DataError, match=r"\(none, as this model was trained without\); got 'device'"):
        model.recommend(tt.Query(user=3, context={"device": "tv"}))


def test_it_is_no_part_of_onnx(model: Recommender, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(ConfigError, match=r"reads \[schema.context\] can't be written as ONNX"):
        export_onnx(model, tmp_path)


def test_auto_says_that_what_it_kept_reads_no_context() -> None:
    auto = tt.TwoTower(kind="auto", candidates=("linear",), dim=8, epochs=1, threads=1, refit=False)
    with pytest.warns(TwoTowerWarning, match=r"\(device, at\): not read, as .* kind linear"):
        model = auto.fit(data().as_train(), progress=False)
    with pytest.warns(TwoTowerWarning, match="reads no times, as its towers are of kind 'linear'"):
        model.encode_queries(tt.Query(user=3, at=1e9))
    with pytest.warns(TwoTowerWarning, match="reads no context, as its towers are of kind 'linear'"):
        model.recommend(asked())


def test_times_of_a_query_may_be_datetimes(model: Recommender) -> None:
    moment = datetime.fromtimestamp(LATER + 13 * HOUR, UTC)
    npt.assert_array_equal(model.encode_queries(asked(at=moment)), model.encode_queries(asked(hour=13)))
