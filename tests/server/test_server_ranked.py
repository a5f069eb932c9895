"""Library, batch and server give the same lists after the second stage and the rules for lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from small_server import ADMIN, HERE
from starlette.testclient import TestClient

import twotower as tt
from two_stage_data import two_stages, with_sources
from twotower.config.diversity import DiversityConfig
from twotower.recommender import Recommender
from twotower.server import Settings, create_app
from twotower.workflows import recommend_all


@pytest.fixture(scope="module")
def ranked() -> Recommender:
    rules = DiversityConfig(column="author", at_most=2, relevance=0.9)
    return replace(two_stages().model, diversity=rules)


def served(model: Recommender, folder: Path) -> TestClient:
    model.save(folder / "bundle")
    settings = Settings(
        **{"bundle": folder / "bundle", "store": str(folder / "events.db"), "admin_token": ADMIN},
        **HERE | {"open": True},
    )
    return TestClient(create_app(settings), raise_server_exceptions=False)


@pytest.fixture
def client(ranked: Recommender, tmp_path: Path) -> Iterator[TestClient]:
    with served(ranked, tmp_path) as client:
        yield client


def lists(answer: dict) -> list[list[tuple[int, float]]]:
    return [[(item["item_id"], item["score"]) for item in own["items"]] for own in answer["results"]]


def of_frame(frame: pl.DataFrame) -> list[list[tuple[int, float]]]:
    column = frame.columns[0]
    return [own.select("item_id", "score").rows() for own in frame.partition_by(column, maintain_order=True)]


def test_the_same_lists_everywhere(client: TestClient, ranked: Recommender, tmp_path: Path) -> None:
    users, k = ranked.user_ids.head(70).to_list(), 8
    expected = of_frame(ranked.recommend(users, k))
    assert lists(client.post("/v1/recommend", json={"users": users, "k": k}).json()) == expected
    alone = client.get(f"/v1/recommend/{users[3]}", params={"k": k}).json()
    assert [(item["item_id"], item["score"]) for item in alone["items"]] == expected[3]
    recommend_all(tt.load(tmp_path / "bundle"), tmp_path / "all.parquet", k)
    batch = pl.read_parquet(tmp_path / "all.parquet")
    assert of_frame(batch)[: len(users)] == expected
    queries = [
        {"features": {"age": 25.0}, "history": [100, 104]},
        {"user": 3, "history": [110], "times": [1_700_000_000]},
    ]
    asked = [
        tt.Query(features={"age": 25.0}, history=[100, 104]),
        tt.Query(user=3, history=[110], times=[1_700_000_000.0]),
    ]
    answered = lists(client.post("/v1/recommend", json={"users": queries, "k": k}).json())
    assert answered == of_frame(ranked.recommend(asked, k))


def test_rules_of_a_request_and_what_is_given_up(client: TestClient, ranked: Recommender) -> None:
    rules = {"column": "author", "at_most": 1}
    own = client.post("/v1/recommend", json={"users": [5], "k": 10, "diversity": rules}).json()["results"][0]
    assert len(own["items"]) == 10
    assert own["given_up"] == ["at_most"]  # there are seven authors
    assert len({item["display"]["author"] for item in own["items"][:7]}) == 7
    none = client.post("/v1/recommend", json={"users": [5], "k": 10, "diversity": False}).json()
    assert "given_up" not in none["results"][0]
    assert lists(none) == of_frame(ranked.recommend(5, 10, diversity=False))
    for wrong, where in (({"column": "autor", "at_most": 1}, "display column"), ({"at_most": 1}, "belong")):
        answer = client.post("/v1/recommend", json={"users": [5], "diversity": wrong})
        assert answer.status_code == 422
        assert where in answer.text


def test_items_added_since_training_are_ranked_too(client: TestClient, ranked: Recommender) -> None:
    before = lists(client.post("/v1/recommend", json={"users": [2, 3], "k": 60}).json())
    head = {"authorization": f"Bearer {ADMIN}"}
    body = {"columns": {"genre": "g2", "author": "a9", "day": 60.0}}
    cold = ranked.item_ids.filter(pl.Series(~ranked.items.warm))[0]
    for item in (900, cold):  # a new one, and one that the model knows without interactions
        assert client.put(f"/v1/items/{item}", json=body, headers=head).status_code < 300
    after = client.post("/v1/recommend", json={"users": [2, 3], "k": 60}).json()
    assert any(item["item_id"] == 900 for own in after["results"] for item in own["items"])
    assert all(len(own["items"]) == 60 for own in after["results"])
    authors = [[item["display"]["author"] for item in own["items"][:8]] for own in after["results"]]
    assert all(own.count(one) <= 2 for own in authors for one in own)
    client.post("/v1/events", json={"events": [{"id": "1", "user_id": 2, "item_id": 900}]}, headers=head)
    again = client.post("/v1/recommend", json={"users": [2], "k": 60}).json()
    assert 900 not in [item["item_id"] for item in again["results"][0]["items"]]
    assert lists(again)[0] != before[0]


def test_further_sources_find_the_same_in_a_server_and_nothing_that_is_hidden(tmp_path: Path) -> None:
    model, users = with_sources(), with_sources().user_ids.head(20).to_list()
    head, body = (
        {"authorization": f"Bearer {ADMIN}"},
        {"columns": {"genre": "g2", "author": "a9", "day": 60.0}},
    )
    (recent,) = model.recommend(users, 1)["item_id"].value_counts(sort=True)["item_id"].head(1)
    with served(model, tmp_path) as client:

        def asked(**more: object) -> list[list[tuple[int, float]]]:
            return lists(client.post("/v1/recommend", json={"users": users, "k": 10, **more}).json())

        assert asked() == of_frame(model.recommend(users, 10))
        filters = {"author": ["a1", "a2"]}
        assert asked(filters=filters) == of_frame(model.recommend(users, 10, filters=filters))
        assert client.put("/v1/items/900", json=body, headers=head).status_code < 300  # rows of its own
        late = asked(deny=[900])
        assert late == of_frame(model.recommend(users, 10))
        assert client.delete(f"/v1/items/{recent}", headers=head).status_code < 300
        assert recent not in {item for own in asked() for item, _ in own}
        assert asked(deny=[900]) == of_frame(model.recommend(users, 10, deny=[recent]))
        back = client.put(f"/v1/items/{recent}", json=body, headers=head)  # at a new place
        assert back.status_code < 300
        assert recent in {item for own in asked(deny=[900]) for item, _ in own}
