"""Real sockets that misbehave: half-sent heads, slow bodies, answers that nobody reads, giant heads."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path

import pytest
from small_server import ServerProcess, run_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc"),
]
SHORT = {"head_seconds": 1, "body_seconds": 1, "idle_seconds": 1, "write_seconds": 1, "connections": 100}
POST = b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    limits = [part for name, value in SHORT.items() for part in ("--limit", f"{name}={value}")]
    process = ServerProcess(run_of(model, tmp_path_factory.mktemp("sockets") / "run"), *limits)
    yield process
    assert process.stop() == 0


@pytest.fixture
def talk(server):
    """Give a function that opens a connection; all are closed afterwards."""
    host, port = server.address.removeprefix("http://").strip("/").split(":")
    with contextlib.ExitStack() as stack:

        def opened(*sent: bytes, small: bool = False) -> socket.socket:
            made = stack.enter_context(socket.socket())
            if small:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.settimeout(10)
            made.connect((host, int(port)))
            for part in sent:
                made.sendall(part)
            return made

        yield opened


def rest(one: socket.socket) -> bytes:
    """Return what comes until the other side hangs up."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := one.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def mib(server) -> float:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def open_sockets(server) -> int:
    folder = Path(f"/proc/{server.process.pid}/fd")
    count = 0
    for one in folder.iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(one).startswith("socket:")
    return count


def alive(server) -> None:
    start = time.monotonic()
    assert server.ask("/healthz")["status"] == "alive"
    assert time.monotonic() - start < 1


def refused(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "sent", [b"G", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", b"GET / HTTP/1.1\r\nx: y"]
)
def test_a_half_sent_head_is_late(talk, sent):
    start = time.monotonic()
    refused(rest(talk(sent)), 408)
    assert 0.8 < time.monotonic() - start < 3


def test_a_head_that_drips_is_late(talk):
    one, start = talk(b"GET /healthz HTTP/1.1\r\n"), time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - start < 5:
            one.sendall(b"x: y\r\n")
            time.sleep(0.1)
            one.setblocking(False)
            try:
                if one.recv(1000):
                    break
            except BlockingIOError:
                pass
            finally:
                one.settimeout(10)
    assert time.monotonic() - start < 3


def test_the_head_of_a_second_request_is_late_too(talk):
    one = talk(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    found = b""
    while b"alive" not in found:
        found += one.recv(1 << 16)
    one.sendall(b"GET /healthz HTTP/1.1\r\n")
    refused(rest(one).removeprefix(b'"}'), 408)


def test_who_says_nothing_is_hung_up_on(talk):
    silent, start = talk(), time.monotonic()
    assert rest(silent) == b""
    after = talk(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b"200 OK" in rest(after)
    assert time.monotonic() - start < 6


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_slow_body_is_late(talk, server, kind):
    head = (
        b"content-length: 100\r\n\r\n{"
        if kind == "length"
        else b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
    )
    one = talk(POST + head)
    assert one.recv(1 << 16).startswith(b"HTTP/1.1 408")
    alive(server)


def test_what_is_sent_on_after_the_answer_ends(talk):
    """A body that was refused goes on for ever: the connection does not."""
    one, start = talk(POST + b"transfer-encoding: chunked\r\n\r\n"), time.monotonic()
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - start < 15:
            one.sendall(chunk)
            time.sleep(0.005)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nx: ",
        POST + b"transfer-encoding: chunked\r\n\r\n1;",
        POST + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ",
    ],
    ids=["path", "header", "chunk extension", "trailer"],
)
def test_what_never_ends_takes_no_memory(talk, server, start):
    before = mib(server)
    one = talk(start)
    part = b"x" * (1 << 20)
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            one.sendall(part)
    assert mib(server) - before < 20
    alive(server)


def test_a_head_that_is_too_long_is_refused(talk):
    for head in (
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: " + b"y" * (80 << 10) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    ):
        with contextlib.suppress(ConnectionError):
            refused(rest(talk(head)), 431)
    within = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n" + b"x: " + b"y" * (50 << 10) + b"\r\n\r\n"
    assert talk(within).recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_requests_sent_ahead_are_few(talk, server):
    one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    some = talk(one * 10)
    found = b""
    while found.count(b"HTTP/1.1 200") < 10:
        found += some.recv(1 << 16)
    before = mib(server)
    for _ in range(10):
        many = talk()
        with contextlib.suppress(ConnectionError):
            many.sendall(one * 20_000)
            assert rest(many).count(b"HTTP/1.1 200") < 20_000
    assert mib(server) - before < 50
    alive(server)


def test_an_answer_that_nobody_reads_is_given_up(talk, server):
    users = json.dumps(
        {"users": [1000 + i % 39 for i in range(1000)], "k": 50, "exclude_seen": False}
    ).encode()
    request = POST + b"content-length: %d\r\n\r\n" % len(users) + users
    before = mib(server)
    many = [talk(request, small=True) for _ in range(8)]
    time.sleep(5)
    for one in many:  # cut off: what was on its way comes, and not the end
        assert len(rest(one)) < 4 << 20
    alive(server)
    assert mib(server) - before < 200
    read = talk(request)
    assert read.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_reader_that_is_slow_but_reads_gets_it_all(talk):
    users = json.dumps({"users": [1000 + i % 39 for i in range(1000)], "k": 10}).encode()
    one = talk(POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(users) + users)
    found = b""
    start = time.monotonic()
    while part := one.recv(100_000):
        found += part
        if time.monotonic() - start < 4:
            time.sleep(0.2)
    assert len(json.loads(found.partition(b"\r\n\r\n")[2])["results"]) == 1000


def test_many_idle_connections_keep_nobody_out(talk, server):
    before = mib(server)
    for _ in range(1000):
        talk()
    alive(server)
    for _ in range(300):
        talk(b"GET / HTTP/1.1\r\n")
    alive(server)
    assert server.ask("/v1/recommend/1003?k=3")["items"]
    assert mib(server) - before < 60
    time.sleep(2.5)
    assert open_sockets(server) < 20


def test_garbage_is_answered_in_the_form_of_all_errors(talk, server):
    for garbage in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        answer = rest(talk(garbage))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408")), garbage
    alive(server)


def test_a_websocket_is_not_answered(talk):
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    one = talk(
        b"GET /v1/model HTTP/1.1\r\nhost: evil.example\r\n" + upgrade + b"sec-websocket-key: eA==\r\n\r\n"
    )
    assert one.recv(1 << 16).startswith(b"HTTP/1.1 403")
