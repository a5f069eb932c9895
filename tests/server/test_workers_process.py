"""Two workers act as one server: events, reloads, deleted users, metrics, the end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from small_server import ADMIN, ServerProcess, run_of

from twotower.errors import BundleError
from twotower.recommender import Recommender

BEARER = f"Bearer {ADMIN}"


@pytest.fixture
def pair(model, tmp_path):
    run = run_of(model, tmp_path / "run")
    words = ("--workers", "2", "--limit", "drain_seconds=0.3")
    process = ServerProcess(run, *words, started=True, TWOTOWER_ADMIN_TOKEN=ADMIN)
    yield process, run
    process.stop(signal.SIGKILL)


def each(server: ServerProcess, path: str, times: int = 12) -> list:
    """Return answers of connections of their own, which the system divides among the workers."""
    return [server.ask(path) for _ in range(times)]


def has_user(bundle: Path) -> bool:
    """Return whether a bundle has the user who was deleted; one that is being removed has nobody."""
    try:
        return 1003 in Recommender.load(bundle).user_ids
    except BundleError:
        return False


def test_workers_act_as_one(pair, other_model, tmp_path):
    server, run = pair
    sent = [{"id": f"e{n}", "user_id": 1003, "item_id": 501 + n} for n in range(3)]
    assert server.ask("/v1/events", {"events": sent})["stored"] == 3
    assert {user["events"] for user in each(server, "/v1/users/1003")} == {3}

    first = {answer["model"] for answer in each(server, "/v1/model")}
    other_model.save(run / "bundle")
    done = server.ask("/v1/admin/reload", method="POST", authorization=BEARER)
    assert {done["previous"]} == first
    assert {answer["model"] for answer in each(server, "/v1/model")} == {done["model"]}
    part = run / "bundle" / "tables.json"
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.ask("/v1/admin/reload", method="POST", authorization=BEARER)
    message = json.loads(refused.value.read())["error"]["message"]
    assert refused.value.code == 409
    assert str(tmp_path) not in message
    assert "shm" not in message
    part.write_bytes(whole)
    assert {answer["model"] for answer in each(server, "/v1/model")} == {done["model"]}

    deleted = server.ask("/v1/users/1003", method="DELETE", authorization=BEARER)
    assert deleted["pending"] == ""
    assert {user["known"] for user in each(server, "/v1/users/1003")} == {False}

    other_model.save(run / "bundle")  # an older copy comes back
    server.ask("/v1/admin/reload", method="POST", authorization=BEARER)
    deadline = time.monotonic() + 10
    copies = Path(f"/dev/shm/twotower-serve-{server.process.pid}")
    while has_user(run / "bundle") or any(has_user(copy) for copy in copies.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    text = urllib.request.urlopen(server.address + "metrics").read().decode()
    (asked,) = re.findall(r'twotower_requests_total\{.*"/v1/model".*\} (\S+)', text)
    assert float(asked) == 36
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    workers = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(workers) == 2

    host, port = re.match(r"http://(.*):(\d+)/", server.address).groups()
    kept = http.client.HTTPConnection(host, int(port))
    kept.request("GET", "/readyz")
    assert kept.getresponse().read()
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    answer, status = None, 200
    while status == 200 and time.monotonic() < deadline:  # until the signal has come
        kept.request("GET", "/readyz")
        answer = kept.getresponse()
        status = answer.status
        answer.read()
    assert status == 503
    assert answer.getheader("connection") == "close"
    assert server.stop() == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)
    assert not list(Path("/dev/shm").glob(f"twotower-serve-{server.process.pid}"))
