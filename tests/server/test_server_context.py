"""The context of a request over HTTP: the same lists as in Python; what is left out is counted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from context_data import DAY, HOUR, START, fitted, group
from twotower.recommender import Recommender

LATER = START + 60 * DAY


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


@pytest.fixture
def bundle(model: Recommender, tmp_path: Path) -> Path:
    model.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def found(client: TestClient, *users: dict[str, Any]) -> list[set[int]]:
    answer = client.post("/v1/recommend", json={"users": list(users), "k": 4, "exclude_seen": False})
    assert answer.status_code == 200, answer.text
    return [{item["item_id"] for item in one["items"]} for one in answer.json()["results"]]


def partial(client: TestClient) -> float:
    text = client.get("/metrics").text
    said = re.search(r"^twotower_partial_contexts_total\S* (\S+)$", text, re.MULTILINE)
    assert said is not None
    return float(said[1])


def test_lists_follow_the_context(
    serving: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serving()
    assert client.get("/v1/model").json()["context"] == {"device": "category"}
    tv = {"user": 3, "context": {"device": "tv"}}
    night = LATER + 3 * HOUR
    both = found(client, tv | {"at": night}, {"history": [1, 9], "context": {"device": "phone"}, "at": night})
    assert both == [group("tv", 3), group("phone", 3)]
    for hour in (14, 4):  # now, and nothing of it is remembered
        monkeypatch.setattr(time, "time", lambda hour=hour: LATER + hour * HOUR)
        assert found(client, tv) == [group("tv", hour)]
    assert partial(client) == 0
    found(client, {"user": 3})
    assert client.get("/v1/recommend/3").status_code == 200
    assert partial(client) == 2


def test_a_context_that_can_not_be_read_is_refused_with_its_place(
    serving: Callable[..., TestClient],
) -> None:
    client = serving()
    for context, said in (
        ({"devise": "tv"}, "got 'devise'. Did you mean 'device'?"),
        ({"at": 5}, "leave 'at' out of the context"),
        ({"device": 1.5}, "a category must be an integer code or a string"),
    ):
        users = [{"user": 3, "context": {"device": "tv"}}, {"user": 4, "context": context}]
        answer = client.post("/v1/recommend", json={"users": users})
        assert answer.status_code == 422
        assert said in answer.text
        assert "users.1.context" in answer.text
