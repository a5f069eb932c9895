"""What the server does when its event store loses data, is replaced, or does not answer."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
import time

import pytest
from redis_process import RedisProcess
from small_server import ADMIN, N_ITEMS
from test_server_changes import BEARER, NEW, ask, event, ids, tell

from twotower.server import state_manager as keeping
from twotower.server.store import SqliteStore


@pytest.fixture
def redis(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    process = RedisProcess(folder)
    yield process
    if process.process.poll() is None:
        process.stop()


def flushed(process):
    import redis

    with redis.Redis.from_url(process.url) as client:
        client.flushall()


def emptied(path):
    """Put a new store in the place of one that is open."""
    store = SqliteStore(path.with_name("empty.db"))

    async def make():
        await store.open()
        await store.close()

    asyncio.run(make())
    for suffix in ("-wal", "-shm"):  # which belong to the old file
        path.with_name(f"{path.name}{suffix}").unlink()
    os.replace(path.with_name("empty.db"), path)


@pytest.fixture(params=["sqlite", "redis"])
def losing(request, serving, tmp_path):
    """Give a server, and a function after which its store holds nothing."""
    if request.param == "redis":
        process = request.getfixturevalue("redis")
        return serving(store=process.url), lambda: flushed(process)
    return serving(), lambda: emptied(tmp_path / "events.db")


def test_after_the_store_lost_its_data_nothing_is_answered_from_memory(losing, caplog):
    client, lose = losing
    untouched = ask(client, 1003, 100)
    first = ids(untouched)[0]
    tell(client, event("a", 1003, first, value=4.0), event("b", "new", 501))
    client.put("/v1/items/900", json={"columns": NEW})
    assert client.delete("/v1/items/510").status_code == 204
    assert first not in ids(ask(client, 1003))
    lose()
    # a deletion is one, at once
    assert client.delete("/v1/items/502").status_code == 204
    found = ask(client, 1003, 100, exclude_seen=False)
    assert not {502, 900} & set(ids(found))
    assert 510 in ids(found)
    assert client.get("/v1/items/502").status_code == 404
    assert "holds other data than before" in caplog.text
    # so are the events
    assert ids(ask(client, 1003, 100)) == [i for i in ids(untouched) if i != 502]
    assert client.get("/v1/recommend/new").status_code == 404
    # and what comes now counts, under the old names too
    assert tell(client, event("a", 1003, first, value=4.0)) == {"stored": 1, "duplicates": 0}
    assert first not in ids(ask(client, 1003))
    assert client.get("/readyz").status_code == 200


def test_other_servers_see_within_a_moment_that_the_data_is_lost(losing):
    client, lose = losing
    client.put("/v1/items/900", json={"columns": NEW})
    lose()
    deadline = time.monotonic() + 10
    while 900 in ids(ask(client, 1003, 100)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_event_deleted_by_hand_does_not_swallow_the_next_one(client, tmp_path):
    tell(client, event("a", 1003, 501), event("b", 1003, 502))
    ask(client, 1003)
    with sqlite3.connect(tmp_path / "events.db") as by_hand:
        by_hand.execute("delete from events where id = 'b'")
    by_hand.close()
    tell(client, event("c", 1003, 503))
    assert 503 not in ids(ask(client, 1003))


def test_a_removed_file_stores_nothing_and_is_not_ready(client, tmp_path):
    tell(client, event("a", 1003, 501))
    assert client.get("/readyz").status_code == 200
    time.sleep(keeping.CHECK_SECONDS)
    (tmp_path / "events.db").unlink()
    for _ in range(2):
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/events", json={"events": [event("b", 1003, 502)]}).status_code == 503
        assert client.put("/v1/items/900", json={"columns": NEW}).status_code == 503
        assert client.get("/v1/recommend/1003").status_code == 503
    assert client.get("/healthz").status_code == 200
    assert not (tmp_path / "events.db").exists()


def test_a_store_that_can_be_read_alone_is_not_ready(client, tmp_path):
    client.app.state.service.store._busy = 0.05
    lock = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    lock.execute("begin immediate")
    time.sleep(keeping.CHECK_SECONDS)
    try:
        assert client.get("/readyz").status_code == 503
    finally:
        lock.execute("rollback")
        lock.close()
    assert client.get("/readyz").status_code == 200


def test_an_event_of_the_same_id_with_other_content_is_a_conflict(client):
    tell(client, event("a", 1003, 501, value=4.0))
    before = ask(client, 1003)
    for other in (
        event("a", 1003, 502, value=4.0),
        event("a", 1004, 501, value=4.0),
        event("a", 1003, 501, value=3.0),
        event("a", 1003, 501),
        event("a", 1003, 501, value=4.0, kind="skip"),
    ):
        answer = client.post("/v1/events", json={"events": [event("z", 1003, 503), other]})
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"]["where"] == "events.1.id"
        assert answer.json()["error"]["code"] == "conflict"
    assert ask(client, 1003) == before
    assert tell(client, event("a", 1003, 501, value=4.0)) == {"stored": 0, "duplicates": 1}


@pytest.mark.parametrize(
    "value", ["18446744073709551616", "-9223372036854775809", "1" * 400, "[1, 99999999999999999999]"]
)
@pytest.mark.parametrize("column", ["year", "kind", "title", "tags", "ghost"])
def test_whole_numbers_past_64_bits_are_refused(client, column, value):
    answer = client.put(
        "/v1/items/900",
        content=f'{{"columns": {{"{column}": {value}}}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in (400, 422), answer.text  # 400: no JSON reader has a number of that size
    assert client.get("/v1/items/900").status_code == 404


# without the store


def test_trained_users_get_lists_without_the_store_if_asked_for(serving, redis, model):
    client = serving(store=redis.url, without_store="serve")
    tell(client, event("a", 1004, 501, value=4.0))
    moved = ask(client, 1004)
    assert "degraded" not in moved
    redis.stop()
    answer = client.get("/v1/recommend/1003", params={"k": N_ITEMS})
    assert answer.status_code == 200
    assert answer.json()["degraded"] is True
    assert answer.headers["x-twotower-degraded"] == "event-store"
    assert ids(answer.json()) == model.recommend([1003], N_ITEMS)["item_id"].to_list()
    # what was read before the store went still counts
    assert ask(client, 1004)["items"] == moved["items"]
    many = client.post("/v1/recommend", json={"users": [1003, {"history": [501]}]})
    assert many.json()["degraded"] is True
    # nobody is told that what needs the store was done
    assert client.get("/v1/recommend/new").status_code == 503
    assert client.post("/v1/events", json={"events": [event("b", 1003, 502)]}).status_code == 503
    assert client.put("/v1/items/900", json={"columns": NEW}).status_code == 503
    assert client.get("/readyz").status_code == 503
    assert re.search(r"twotower_degraded_lists_total\S* 3.0", client.get("/metrics").text)
    redis.start()
    deadline = time.monotonic() + 10
    while "degraded" in ask(client, 1003):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.get("/readyz").status_code == 200


def test_it_starts_without_the_store_if_asked_for_and_finds_it_later(serving, redis):
    redis.stop()
    client = serving(store=redis.url, without_store="serve")
    assert ask(client, 1003)["degraded"] is True
    assert client.get("/readyz").status_code == 503
    redis.start()
    deadline = time.monotonic() + 10
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tell(client, event("a", 1003, 501))


def test_without_being_asked_for_it_is_refused(serving, redis):
    client = serving(store=redis.url)
    redis.stop()
    answer = client.get("/v1/recommend/1003")
    assert answer.status_code == 503
    assert "x-twotower-degraded" not in answer.headers


# reloads


@pytest.fixture
def slow_load(monkeypatch):
    """Make loads wait until they are let go; give the event, and the list of loads begun."""
    go, begun, real = threading.Event(), [], keeping.load

    def load(bundle, *how, **named):
        begun.append(bundle)
        assert go.wait(30)
        return real(bundle, *how, **named)

    yield lambda: monkeypatch.setattr(keeping, "load", load), go, begun
    go.set()


def test_a_load_that_hangs_is_given_up(serving, slow_load, monkeypatch):
    from twotower.server import Limits

    client = serving(limits=Limits(load_seconds=0.3))
    before = client.get("/v1/model").json()["model"]
    hang, go, begun = slow_load
    hang()
    start = time.monotonic()
    answer = client.post("/v1/admin/reload", headers=BEARER)
    assert answer.status_code == 409
    assert "within 0.3 s" in answer.json()["error"]["message"]
    answer = client.post("/v1/admin/reload", headers=BEARER)  # not a second thread that hangs
    assert "an earlier attempt" in answer.json()["error"]["message"]
    assert time.monotonic() - start < 5
    assert len(begun) == 1
    assert ask(client, 1003)["model"] == before
    go.set()
    deadline = time.monotonic() + 10
    while client.post("/v1/admin/reload", headers=BEARER).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reloads_by_signal_during_a_reload_are_one_more_reload_afterwards(
    serving, slow_load, bundle, other_model
):
    client = serving()
    service = client.app.state.service
    before = service.state.version
    hang, go, begun = slow_load
    hang()

    async def several():
        first = asyncio.create_task(service.states.reload())
        await asyncio.sleep(0.1)
        queued = [asyncio.create_task(service.states.reload(queue=True)) for _ in range(3)]
        await asyncio.sleep(0.1)
        go.set()
        return await first, await asyncio.gather(*queued)

    first, queued = client.portal.call(several)
    assert len(begun) == 2
    assert first[1].version == before
    assert [found is None for found in queued] == [False, True, True]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_a_pipe_as_a_part_stops_neither_a_reload_nor_the_end(server, tmp_path):
    part = tmp_path / "run" / "bundle" / "vectors.safetensors"
    part.unlink()
    os.mkfifo(part)
    import json
    import signal
    import urllib.error

    with pytest.raises(urllib.error.HTTPError) as refusal:
        server.ask("/v1/admin/reload", method="POST", authorization=f"Bearer {ADMIN}")
    assert refusal.value.code == 409
    assert "a pipe" in json.loads(refusal.value.read())["error"]["message"]
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("reload refused")
    assert server.ask("/v1/recommend/1003")["items"]
    assert server.stop() == 0
