"""Redis behind Sentinels, and Redis Cluster, by their addresses."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time

import pytest
from redis_process import RedisProcess, free_port

from twotower.errors import ConfigError
from twotower.server.store import Event, EventStore, StoredItem, StoreUnavailable, make_store


def talk(port: int, *words: str) -> bytes:
    """Send a command, and return the first of the answer."""
    text = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(text.encode())
        return connection.recv(4096)


async def used(store: EventStore) -> None:
    """Do all that a server does with a store."""
    await store.open()
    events = [
        Event(f"e{n}", f"user {n % 3}", "7", "interaction", 1.5, 1e9 + n) for n in range(1500)
    ]  # more than one script takes
    assert await store.append(events) == 1500
    assert len(await store.events_of("user 1")) == 500
    assert len([one async for part in store.between(0, await store.last()) for one in part]) == 1500
    await store.put_item(StoredItem("a", "{}"))
    assert [item.key for item in await store.items_since()] == ["a"]
    assert await store.forget("user 1") == 500
    assert await store.expire(1e9 + 300) == 200
    assert len((await store.erased()).users) == 1
    await store.check()
    await store.close()


def test_a_cluster_keeps_everything_together(tmp_path):
    server = RedisProcess(tmp_path, **{"cluster-enabled": "yes"})
    try:
        assert talk(server.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383").startswith(b"+OK")
        deadline = time.monotonic() + 10
        while b"cluster_state:ok" not in talk(server.port, "CLUSTER", "INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        asyncio.run(used(make_store(f"redis+cluster://127.0.0.1:{server.port}")))
    finally:
        server.stop()


def test_the_master_that_sentinels_name_is_used(tmp_path):
    server = RedisProcess(tmp_path)
    port, dead = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor events 127.0.0.1 {server.port} 1\n")
    command = ["redis-server", str(config), "--sentinel", "--dir", str(tmp_path)]
    sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                if str(server.port).encode() in talk(port, "SENTINEL", "get-master-addr-by-name", "events"):
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.02)
        asyncio.run(used(make_store(f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{port}/events/0")))
        with pytest.raises(StoreUnavailable):
            asyncio.run(make_store(f"redis+sentinel://127.0.0.1:{port}/other").open())
    finally:
        sentinel.terminate()
        sentinel.wait(timeout=20)
        server.stop()


@pytest.mark.parametrize(
    "address",
    ["redis+sentinel://host:1", "redis+sentinel:///events", "redis+sentinel://h:x/events", "redis+else://h"],
)
def test_an_address_of_another_form_is_refused_and_not_shown(address):
    with pytest.raises(ConfigError, match=r"redis\+cluster://HOST") as refused:
        make_store(address.replace("://", "://:secret@"))
    assert "secret" not in str(refused.value)
