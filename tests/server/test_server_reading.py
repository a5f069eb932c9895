"""A model whose user tower reads histories, over HTTP: events move a user at once, as in the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

import twotower as tt
from history_towers import COLD, HOUR, KINDS, N_ITEMS, START, data
from twotower.core.lists import Lists
from twotower.errors import DataError
from twotower.recommender import Recommender
from twotower.recommender.row_queries import RowQueries
from twotower.towers.registry import TOWERS

LATER = 1_700_000_000.0
NEW: dict[str, Any] = {"year": 1993.0, "genre": "b", "tags": ["x", "z"], "title": "new"}


@pytest.fixture(scope="module", autouse=True)
def towers() -> Iterator[None]:
    with TOWERS.temporarily(**KINDS):
        yield


@pytest.fixture(scope="module")
def model() -> Recommender:
    train = data().as_train()
    made = tt.TwoTower(
        kind="recent", dim=8, epochs=3, threads=1, refit=False, objective="softmax", positive=3.0
    )
    return made.fit(train, progress=False)


@pytest.fixture
def bundle(model: Recommender, tmp_path: Path) -> Path:
    model.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def items(answer: Any) -> list[tuple[Any, float]]:
    return [(item["item_id"], item["score"]) for item in answer["items"]]


def in_python(model: Recommender, query: Any, k: int = N_ITEMS) -> list[tuple[Any, float]]:
    return list(model.recommend(query, k).select("item_id", "score").iter_rows())


def alike(answer: Any, expected: list[tuple[Any, float]]) -> None:
    found = items(answer)
    assert [item for item, _ in found] == [item for item, _ in expected]
    npt.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-5, atol=1e-5)


EVENTS: list[dict[str, Any]] = [
    {"id": "a", "user_id": 0, "item_id": 102, "value": 5.0, "time": LATER + HOUR},
    {"id": "b", "user_id": 0, "item_id": COLD, "time": LATER},  # earlier, and sent later
    {"id": "c", "user_id": 0, "item_id": 105, "kind": "skip", "time": LATER + 2 * HOUR},
    {"id": "d", "user_id": 0, "item_id": 101, "value": 1.0, "time": LATER + HOUR},
    {"id": "e", "user_id": 77, "item_id": 104, "time": LATER},
]


def test_an_event_moves_a_user_at_once(client: Any, model: Recommender) -> None:
    before = client.get("/v1/recommend/0", params={"k": N_ITEMS}).json()
    alike(before, in_python(model, 0))
    assert client.post("/v1/events", json={"events": EVENTS}).json()["stored"] == len(EVENTS)
    # in the order of time; what was refused is not given, and says nothing
    query = tt.Query(
        user=0,
        history=[102, COLD, 101],
        labels=[5.0, None, 1.0],
        times=[LATER + HOUR, LATER, LATER + HOUR],
    )
    expected = [pair for pair in in_python(model, query) if pair[0] != 105]
    for _ in range(2):  # the second time the vector is known
        served = client.get("/v1/recommend/0", params={"k": N_ITEMS, "explain": 3}).json()
        alike(served, expected)
    alike(
        client.get("/v1/recommend/77", params={"k": N_ITEMS}).json(),
        in_python(model, tt.Query(history=[104], times=[LATER])),
    )
    explained = model.explain(query, served["items"][0]["item_id"])
    reasons = served["items"][0]["because"]
    assert reasons["items"]
    for reason, (item, part) in zip(
        reasons["items"], explained.select("because_item_id", "contribution").iter_rows(), strict=False
    ):
        assert reason["item_id"] == item
        assert reason["contribution"] == pytest.approx(part, rel=1e-4, abs=1e-5)
    assert reasons["base"] == pytest.approx(explained["base"][0], rel=1e-4, abs=1e-5)
    total = reasons["base"] + reasons["rest"] + sum(reason["contribution"] for reason in reasons["items"])
    assert total == pytest.approx(served["items"][0]["score"], rel=1e-4, abs=1e-5)
    pairs = [{"user_id": user, "item_id": item} for user in (0, 1, 77) for item in (103, 106)]
    scored = client.post("/v1/score", json={"pairs": pairs}).json()["results"]
    asked = [query, 1, tt.Query(history=[104], times=[LATER])]
    scores = model.encode_queries(asked) @ model.items.vectors[[3, 6]].T
    npt.assert_allclose([one["score"] for one in scored], scores.reshape(-1), rtol=1e-5, atol=1e-5)


QUERIES: list[dict[str, Any]] = [
    {"user": 1},
    {"user": 1, "history": [101, COLD]},
    {"user": 1, "history": [101, 104], "labels": [1.0, None], "times": [LATER, START]},
    {"user": 2, "at": START + 2 * HOUR},
    {"user": 2, "history": [101], "times": [START + HOUR], "at": START + 1.5 * HOUR},
    {"history": [103, 106]},
    {"history": [106, 103]},
    {"history": [106], "at": LATER},
    {"features": {"age": 44.0}},
    {"features": {"age": 44.0}, "history": [101], "labels": [2.0]},
    {"features": {}, "history": [101]},
    {"features": {}},
    {"user": 78, "history": [101], "features": {"age": 21.0}},
]


def test_queries_are_answered_alike(client: Any, model: Recommender) -> None:
    served = client.post("/v1/recommend", json={"users": QUERIES, "k": N_ITEMS}).json()["results"]
    for query, answer in zip(QUERIES, served, strict=True):
        alike(answer, in_python(model, tt.Query(**query)))
    alone = client.post(
        "/v1/recommend", json={"users": [{"user": 2, "at": "1970-01-12T15:46:40Z"}], "k": N_ITEMS}
    )
    alike(alone.json()["results"][0], in_python(model, tt.Query(user=2, at=START + 2 * HOUR)))


def test_events_after_the_time_that_is_asked_about_are_not_read(client: Any, model: Recommender) -> None:
    client.post("/v1/events", json={"events": EVENTS})
    (answer,) = client.post(
        "/v1/recommend",
        json={"users": [{"user": 0, "at": LATER + HOUR}], "k": N_ITEMS, "exclude_seen": False},
    ).json()["results"]
    query = tt.Query(user=0, history=[COLD], times=[LATER], at=LATER + HOUR)
    alike(answer, list(model.recommend(query, N_ITEMS, exclude_seen=False)["item_id", "score"].iter_rows()))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"history": [101], "times": [1.0, 2.0]}, "one time for each item of the history; got 2 for 1"),
        ({"user": 1, "times": [1.0]}, "one time for each item of the history; got 1 for 0"),
        ({"history": [101], "times": ["2026-01-01T00:00:00"]}, "time zone"),
        ({"history": [101], "times": [None]}, "times"),
        ({"history": [101], "times": [5.0], "at": 5.0}, "what came before its query"),
        ({"user": 1, "at": "soon"}, "at"),
    ],
)
def test_times_that_can_not_be(client: Any, query: Any, message: str) -> None:
    answer = client.post("/v1/recommend", json={"users": [query]})
    assert answer.status_code == 422
    assert message in answer.text


def test_a_live_item_counts_in_histories(client: Any, model: Recommender) -> None:
    """Read by its features, as in a model whose table has it without interactions."""
    for name in (200, 201):
        columns = NEW | ({"year": 1999.0} if name == 200 else {})
        assert client.put(f"/v1/items/{name}", json={"columns": columns}).status_code == 201
    (answer,) = client.post(
        "/v1/recommend",
        json={"users": [{"user": 0, "history": [101, 201], "times": [LATER, LATER]}], "k": 12},
    ).json()["results"]

    def read(user: int, rows: list[int], **columns: Any) -> Any:
        known = {k: v for k, v in (NEW | columns).items() if k != "title"}
        arrays = model.towers.arrays_of_dicts([known], "items")
        vectors = model.towers.vectors(arrays, "items")
        longer = model.query_encoder.with_items(vectors, np.array([np.nan]), arrays)
        ones, times = np.ones(len(rows)), np.full(len(rows), LATER)
        given = Lists.from_groups([np.array(rows)])
        return longer.histories.vectors(RowQueries(np.array([model.users.row(user)]), given, ones, times))[0]

    vector = read(0, [1, N_ITEMS])
    scores = dict(items(answer))
    assert 201 not in scores
    assert 200 in scores
    del scores[200]
    assert scores
    for item, score in scores.items():
        assert score == pytest.approx(vector @ model.items.vectors[item - 100], rel=1e-5, abs=1e-5)
    event = {"id": "x", "user_id": 5, "item_id": 200, "time": LATER}
    assert client.post("/v1/events", json={"events": [event]}).json()["stored"] == 1
    vector = read(5, [N_ITEMS], year=1999.0)
    moved = dict(items(client.get("/v1/recommend/5", params={"k": 12}).json()))
    assert 200 not in moved
    moved.pop(201, None)
    assert moved
    for item, score in moved.items():
        assert score == pytest.approx(vector @ model.items.vectors[item - 100], rel=1e-5, abs=1e-5)
        assert score != pytest.approx(
            model.users.vectors[model.users.row(5)] @ model.items.vectors[item - 100]
        )
    still = client.get("/v1/recommend/6", params={"k": N_ITEMS}).json()
    alike({"items": [i for i in still["items"] if i["item_id"] < 200]}, in_python(model, 6))
    assert pl.Series([200]).is_in([i["item_id"] for i in still["items"]]).all()


def test_a_label_above_the_scale_is_refused_as_in_python(client: Any, model: Recommender) -> None:
    said = "labels are on a scale, whose highest is 5 in the training set; got 6"
    with pytest.raises(DataError, match=said):
        model.encode_queries(tt.Query(history=[101], labels=[6.0]))
    asked = client.post("/v1/recommend", json={"users": [{"history": [101], "labels": [6.0]}]})
    event = {"id": "x", "user_id": 5, "item_id": 101, "value": 6.0}
    for answer in (asked, client.post("/v1/events", json={"events": [event]})):
        assert answer.status_code == 422
        assert said in answer.text
    assert client.get("/v1/users/5").json()["events"] == 0


def test_values_of_features_that_the_model_does_not_know_are_said(client: Any) -> None:
    columns = {"year": 1999.0, "genre": "odd", "tags": ["x", "new"]}
    answer = client.put("/v1/items/210", json={"columns": columns})
    assert answer.status_code == 201
    assert answer.json()["unknown_features"] == {"genre": "odd", "tags": ["x", "new"]}
    known = client.put("/v1/items/211", json={"columns": columns | {"genre": "a", "tags": ["x"]}})
    assert "unknown_features" not in known.json()
