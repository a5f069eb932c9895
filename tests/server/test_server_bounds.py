"""One body does not stop the process: bounds come before validation, and the first fault ends it."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import orjson
import pytest
from small_server import numbers

from twotower.recommender.fitted_towers import FittedTowers
from twotower.server import Limits, ranking
from twotower.server.bounds import read
from twotower.server.errors import ApiError
from twotower.server.queries import AskedUser, encoded_users
from twotower.server.request_models import EventsBody, ItemBody, RecommendBody, ScoreBody
from twotower.server.state import State
from twotower.server.user_events import Past
from twotower.server.workers import THREADS, Deadline, Workers

LIMITS = Limits()
MIB = 1 << 20


def filled(start: str, part: str, end: str) -> bytes:
    """Return a body of 4 MiB: a part as often as there is room."""
    times = (4 * MIB - len(start) - len(end)) // len(part)
    return (start + (part * times).rstrip(",") + end).encode()


WORST = {
    "wrong users": (RecommendBody, filled('{"users": [', "1.5,", "]}")),
    "wrong users of a query each": (RecommendBody, filled('{"users": [', '{"a":1},', "]}")),
    "objects": (RecommendBody, filled('{"users": [', "{},", "]}")),
    "lists": (RecommendBody, filled('{"users": [', "[],", "]}")),
    "deep lists": (RecommendBody, b"[" * 4 * MIB),
    "deep objects": (RecommendBody, b'{"a":' * (MIB // 2)),
    "wrong items": (RecommendBody, filled('{"users": [1], "allow": [', "null,", "]}")),
    "items of one user": (RecommendBody, filled('{"users": [{"items": [', "1,", "]}]}")),
    "wrong filter values": (RecommendBody, filled('{"users": [1], "filters": {"a": [', "null,", "]}}")),
    "keys": (RecommendBody, b"{" + b",".join(b'"%d":1' % i for i in range(300_000)) + b"}"),
    "keys of features": (
        RecommendBody,
        b'{"users": [{"features": {' + b",".join(b'"%d":1' % i for i in range(300_000)) + b"}}]}",
    ),
    "filters": (
        RecommendBody,
        b'{"users": [1], "filters": {' + b",".join(b'"%d":[]' % i for i in range(90_000)) + b"}}",
    ),
    "one long key": (RecommendBody, b'{"users": [{"features": {"' + b"k" * (4 * MIB - 50) + b'": 1}}]}'),
    "one long unknown key": (RecommendBody, b'{"' + b"k" * (4 * MIB - 50) + b'": 1}'),
    "one long id": (RecommendBody, b'{"users": ["' + b"k" * (4 * MIB - 50) + b'"]}'),
    "wrong events": (EventsBody, filled('{"events": [', "1,", "]}")),
    "events of wrong values": (
        EventsBody,
        filled('{"events": [', '{"id":1,"user_id":[],"item_id":1.5,"kind":1,"value":"","time":[]},', "]}"),
    ),
    "wrong pairs": (ScoreBody, filled('{"pairs": [', '{"user_id":1.5},', "]}")),
    "columns in columns": (ItemBody, filled('{"columns": {"a": [', "[1],", "]}}")),
    "values of a column": (ItemBody, filled('{"columns": {"a": [', '"ab",', "]}}")),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_body_is_refused_at_once_and_in_few_words(name):
    model, body = WORST[name]
    assert len(body) <= LIMITS.body_bytes
    start = time.process_time()
    with pytest.raises(ApiError) as failure:
        read(body, model, LIMITS)
    assert time.process_time() - start < 3.0  # they took from 4 to 45 s; collecting garbage takes one
    assert failure.value.status in (400, 413, 422)
    assert len(failure.value.message) < 1000
    assert len(failure.value.where or "") < 300


def test_values_are_counted_before_they_are_made():
    body = b'{"users": [' + b",".join(b'"a"' for _ in range(260_000)) + b"]}"
    with pytest.raises(ApiError, match="at most 250000 values"):
        read(body, RecommendBody, LIMITS)


def test_what_is_within_the_limits_is_read():
    events = [{"id": str(i), "user_id": i, "item_id": "a" * 200} for i in range(LIMITS.events)]
    assert len(read(orjson.dumps({"events": events}), EventsBody, LIMITS).events) == LIMITS.events
    users = [{"id": str(i), "features": {f"f{j}": [1, 2] for j in range(90)}} for i in range(LIMITS.users)]
    assert len(read(orjson.dumps({"users": users}), RecommendBody, LIMITS).users) == LIMITS.users


# users by features


def asked_by(features):
    return [AskedUser(f"users.{n}", None, Past(), one) for n, one in enumerate(features)]


def test_users_by_features_are_the_same_alone_and_together():
    state = State.of(numbers(), "1")
    features = [{"age": 1}, {"age": 2.5}, {}, {"age": None}, {"age": "1.5"}, {"age": -3}, {"age": 7.25}]
    together = encoded_users(state, asked_by(features), Deadline(10))
    for one, user in zip(features, together, strict=True):
        (alone,) = encoded_users(state, asked_by([one]), Deadline(10))
        # a product of many rows is summed in another order
        np.testing.assert_allclose(user.vector, alone.vector, rtol=1e-5, atol=1e-6)
    assert len({user.vector.tobytes() for user in together}) >= 5


def test_users_by_features_are_encoded_together(monkeypatch):
    state = State.of(numbers(), "1")
    calls = []
    arrays = FittedTowers.arrays
    monkeypatch.setattr(
        FittedTowers,
        "arrays",
        lambda self, table, *rest: calls.append(len(table)) or arrays(self, table, *rest),
    )
    encoded_users(state, asked_by([{"age": i / 7} for i in range(64)]), Deadline(10))
    assert calls == [64]


def test_the_one_that_is_wrong_is_named():
    state = State.of(numbers(), "1")
    features = [{"age": 1.5}] * 40 + [{"age": "x"}] + [{"age": 1.5}] * 23
    with pytest.raises(ApiError) as failure:
        encoded_users(state, asked_by(features), Deadline(10))
    assert failure.value.where == "users.40.features"


# reasons


def test_reasons_do_not_depend_on_how_many_are_worked_out_at_once(asked, monkeypatch):
    body = {"users": [1003], "k": 20, "explain": 5}
    whole = asked.post("/v1/recommend", json=body).json()
    monkeypatch.setattr(ranking, "_PARTS", 1)
    parts = asked.post("/v1/recommend", json=body).json()
    for one, other in zip(whole["results"][0]["items"], parts["results"][0]["items"], strict=True):
        assert one["item_id"] == other["item_id"]
        assert one["because"]["base"] == pytest.approx(other["because"]["base"], abs=1e-9)
        assert [r["item_id"] for r in one["because"]["items"]] == [
            r["item_id"] for r in other["because"]["items"]
        ]


# many users


def test_many_users_are_answered_as_each_alone(asked):
    users = [1000 + i % 40 for i in range(150)] + [{"items": [501, 502]}, {"features": {"group": 1}}]
    results = asked.post("/v1/recommend", json={"users": users, "k": 3}).json()["results"]
    assert len(results) == len(users)
    for user, result in zip(users, results, strict=True):
        if isinstance(user, int):
            assert result["items"] == asked.get(f"/v1/recommend/{user}?k=3").json()["items"]
    assert [r["items"][0] for r in results[-2:]] != [None, None]


# the threads


def test_the_line_is_bounded_and_what_takes_too_long_is_given_up():
    async def whole():
        workers = Workers(Limits(waiting=1, work_seconds=0.3))
        free = threading.Event()
        tasks = [
            asyncio.create_task(workers.run(workers.deadline(), lambda: free.wait(5)))
            for _ in range(THREADS + 1)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError, match="too much work is waiting"):
            await workers.run(workers.deadline(), int)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(one)[:25] for one in found] == ["this took longer than 0.3"] * (THREADS + 1)
        # as long as threads are busy with what was given up, there is no room for more
        with pytest.raises(ApiError, match="too much work is waiting"):
            await workers.run(workers.deadline(), int)
        free.set()
        await asyncio.sleep(0.1)
        assert await workers.run(workers.deadline(), lambda: 7) == 7
        workers.close()

    asyncio.run(whole())


def test_work_stops_by_itself_when_its_time_is_up():
    deadline = Deadline(0.0)
    time.sleep(0.01)
    with pytest.raises(ApiError, match="took longer"):
        deadline.check()


def test_large_bodies_share_what_is_held(serving, monkeypatch):
    client = serving(limits=Limits(body_bytes=100_000))
    monkeypatch.setattr("twotower.server.request_body.BODIES", 50_000)
    body = b'{"users": [1003]' + b" " * 60_000 + b"}"
    assert client.post("/v1/recommend", content=body).status_code == 200
    client.app.state.service.held = 60_000
    answer = client.post("/v1/recommend", content=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert client.post("/v1/recommend", content=b'{"users": [1003]}').status_code == 200
    assert client.app.state.service.held == 60_000


def test_only_the_latest_events_of_a_user_count(serving):
    client = serving(limits=Limits(user_events=3))
    events = [{"id": str(i), "user_id": "new", "item_id": 500 + i} for i in range(5)]
    client.post("/v1/events", json={"events": events[:4]})
    assert client.get("/v1/users/new").json()["events"] == 3
    client.post("/v1/events", json={"events": events[4:]})
    found = client.get("/v1/users/new").json()
    assert [one["item_id"] for one in found["history"]] == [504, 503, 502]
    assert np.isfinite(client.get("/v1/recommend/new").json()["items"][0]["score"])
