"""`twotower serve` in a process of its own: start, end, signals, and a store that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error

import pytest
from forked_server import ForkedProcess
from redis_process import RedisProcess
from small_server import ADMIN, N_ITEMS, ServerProcess, run_of
from typer.testing import CliRunner

from twotower.cli import app

pytestmark = [
    pytest.mark.slow,  # most start processes, which import torch
    pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's"),
]


def event(name, item=501, user=1003):
    return {"id": name, "user_id": user, "item_id": item, "value": 3.0}


def test_a_life(server, model, other_model, tmp_path):
    """Asked, told, reloaded by signal and by request while it is asked, ended while a body is on its way."""
    first = server.ask("/v1/recommend/1003?k=5")
    assert [i["item_id"] for i in first["items"]] == model.recommend([1003], 5)["item_id"].to_list()
    assert server.ask("/v1/events", {"events": [event("a", first["items"][0]["item_id"])]})["stored"] == 1

    failed, answered, going = [], [], True

    def ask():
        while going:
            try:
                answered.append(server.ask("/v1/recommend/1004?k=5")["model"])
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    other_model.save(tmp_path / "run" / "bundle")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for('"reloaded"')
    model.save(tmp_path / "run" / "bundle")
    server.ask("/v1/admin/reload", method="POST", authorization=f"Bearer {ADMIN}")
    time.sleep(0.2)
    going = False
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(answered)) == 2
    assert answered[-1] == first["model"]

    # a damaged bundle is said in the log, and changes nothing
    (tmp_path / "run" / "bundle" / "vectors.safetensors").write_bytes(b"no")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("reload refused")
    after = server.ask("/v1/recommend/1003?k=5")
    assert after["model"] == first["model"]
    assert first["items"][0]["item_id"] not in [i["item_id"] for i in after["items"]]

    status, results = answered_at_the_end(server)
    assert status.startswith(b"HTTP/1.1 200")
    assert len(results[0]["items"]) == 3
    assert server.stop() == 0
    for line in server.lines[1:]:
        if line.startswith("{"):
            assert {"time", "level", "message"} <= set(json.loads(line))
        else:
            assert line.startswith("serving ")
    requests = [json.loads(line) for line in server.lines if '"request"' in line]
    assert {"request_id", "method", "route", "status", "ms"} <= set(requests[0])
    assert "stopped" in server.lines[-1]


def answered_at_the_end(server):
    """End the server while half a request has come, and send the other half: what is answered."""
    host, port = server.address.removeprefix("http://").strip("/").split(":")
    body = json.dumps({"users": [1003], "k": 3}).encode()
    with socket.create_connection((host, int(port)), timeout=20) as talk:
        talk.sendall(
            b"POST /v1/recommend HTTP/1.1\r\nhost: [::]\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        talk.sendall(body[:5])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(OSError):
            socket.create_connection((host, int(port)), timeout=1)
        talk.sendall(body[5:])
        answer = b"".join(iter(lambda: talk.recv(65536), b""))
    return answer, json.loads(answer.split(b"\r\n\r\n", 1)[1])["results"]


def test_killed_at_any_moment_it_has_what_it_answered(model, tmp_path):
    run = run_of(model, tmp_path / "run")
    answered: list[str] = []
    for life in range(2):
        server = ServerProcess(run)
        stop = threading.Event()

        def tell(life=life, server=server, stop=stop):
            number = 0
            while not stop.is_set():
                name = f"{life}/{number}"
                try:
                    server.ask("/v1/events", {"events": [event(name, 500 + number % N_ITEMS)]})
                except Exception:  # killed
                    return
                answered.append(name)
                number += 1

        thread = threading.Thread(target=tell)
        thread.start()
        time.sleep(0.5)
        server.stop(signal.SIGKILL)
        stop.set()
        thread.join()
    server = ServerProcess(run)
    assert len(answered) > 20
    sent = [event(name, 500 + int(name.split("/")[1]) % N_ITEMS) for name in answered]
    again = server.ask("/v1/events", {"events": sent})
    assert again == {"stored": 0, "duplicates": len(answered)}
    found = server.ask("/v1/users/1003?limit=1000")["events"]
    assert len(answered) <= found <= len(answered) + 2  # one a life may have been stored and not answered
    assert server.stop() == 0


def test_redis_goes_and_comes_back(model, tmp_path):
    redis = RedisProcess(tmp_path)
    run = run_of(model, tmp_path / "run")
    try:
        one, two = (ServerProcess(run, "--store", redis.url) for _ in range(2))
        assert one.ask("/v1/events", {"events": [event("a", 501)]})["stored"] == 1
        assert two.ask("/v1/events", {"events": [event("a", 501)]})["duplicates"] == 1
        assert two.ask("/v1/users/1003")["events"] == 1
        redis.stop()
        for path, body in (
            ("/v1/events", {"events": [event("b", 502)]}),
            ("/v1/recommend/1003", None),
            ("/readyz", None),
        ):
            with pytest.raises(urllib.error.HTTPError) as failure:
                one.ask(path, body)
            assert failure.value.code == 503
            assert "event store" in json.loads(failure.value.read())["error"]["message"]
            assert failure.value.headers["retry-after"]
        # what needs no store goes on
        assert one.ask("/v1/similar/501")["items"]
        assert one.ask("/v1/recommend", {"users": [{"history": [501]}]})["results"][0]["items"]
        assert one.ask("/healthz")["status"] == "alive"
        redis.start()
        assert one.ask("/v1/events", {"events": [event("b", 502)]})["stored"] == 1
        assert two.ask("/v1/users/1003")["events"] == 2
        assert one.ask("/readyz")["status"] == "ready"
        assert (one.stop(), two.stop()) == (0, 0)
    finally:
        redis.stop()


REFUSED = [
    (["no/such/run"], "there is no run"),
    (["RUN", "--store", "mysql://x"], "--store must be"),
    (["RUN", "--store", "redis://127.0.0.1:1/0"], "--store must be"),
    (["RUN", "--host", "no.such.host.invalid"], "must be able to listen"),
    (["RUN", "--port", "TAKEN"], "must be able to listen"),
    (["RUN", "--limit", "kk=3"], "there is no limit 'kk'"),
    (["BROKEN"], "vectors.safetensors"),
]


@pytest.fixture
def named(model, tmp_path):
    """Give a function that puts what there is for the names in arguments."""
    run, broken = run_of(model, tmp_path / "run"), run_of(model, tmp_path / "broken")
    (broken / "bundle" / "vectors.safetensors").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"RUN": str(run), "BROKEN": str(broken), "TAKEN": str(taken.getsockname()[1])}
        yield lambda arguments: ["serve", "--port", "0", *(names.get(a, a) for a in arguments)]


def said(arguments, code, stderr, words):
    errors = [line for line in stderr.splitlines() if not line.startswith(("{", "warning: "))]
    assert code == 2, (arguments, stderr)
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert words in errors[0]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_what_can_not_be_served_is_one_line_and_exit_code_2(named, arguments, words, signals_and_logs):
    result = CliRunner().invoke(app, named(arguments))
    said(arguments, result.exit_code, result.stderr, words)


def test_it_is_so_in_a_process_too(named):
    arguments, words = REFUSED[2]
    process = ForkedProcess(named(arguments), os.environ)
    stderr = process.stderr.read()
    said(arguments, process.wait(60), stderr, words)
