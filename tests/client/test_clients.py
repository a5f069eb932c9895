"""What clients do about failures, against answers made by hand: retries, errors, headers."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from twotower.client import (
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from twotower.errors import ConfigError, DataError, MissingExtraError

ALIVE = {"status": "alive"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USERS = {"total": 0, "users": []}
EVENT: Any = {"id": "a", "user_id": 1, "item_id": 2}


@dataclass
class Raw:
    """An answer as bytes, from which every call gets a response of its own."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Answers:
    """Gives one outcome after the other, and keeps the requests."""

    def __init__(self, *outcomes: Raw | Exception) -> None:
        self.outcomes, self.requests = list(outcomes), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(
            outcome.status, headers=outcome.headers, stream=httpx.ByteStream(outcome.content)
        )


def made(body: Any, status: int = 200) -> Raw:
    return Raw(status, json.dumps(body).encode())


def busy(retry_after: str | None = "0") -> Raw:
    return Raw(503, headers={} if retry_after is None else {"retry-after": retry_after})


def sync(answers: Answers, do: Callable[[Any], Any], **given: Any) -> Any:
    with Client("http://host", backoff=0, transport=httpx.MockTransport(answers), **given) as client:
        return do(client)


def awaited(answers: Answers, do: Callable[[Any], Any], **given: Any) -> Any:
    async def work() -> Any:
        transport = httpx.MockTransport(answers)
        async with AsyncClient("http://host", backoff=0, transport=transport, **given) as client:
            return await do(client)

    return asyncio.run(work())


both = pytest.mark.parametrize("run", [sync, awaited])


@both
@pytest.mark.parametrize(
    "failures",
    [
        [httpx.ConnectError("refused")],
        [httpx.ReadError("reset"), httpx.RemoteProtocolError("closed"), httpx.ConnectTimeout("slow")],
        [busy(), busy(formatdate(0, usegmt=True))],
    ],
)
def test_what_may_be_sent_again_is(run, failures):
    answers = Answers(*failures, made(USERS))
    assert run(answers, lambda client: client.find_users()).total == 0
    assert len(answers.requests) == len(failures) + 1


@both
def test_events_are_sent_again_as_they_were(run):
    answers = Answers(httpx.ReadError("reset"), made({"stored": 0, "duplicates": 1}))
    assert run(answers, lambda client: client.send_events([EVENT])).duplicates == 1
    first, second = answers.requests
    assert first.content == second.content


@both
@pytest.mark.parametrize("failure", [httpx.ReadError("reset"), busy()])
@pytest.mark.parametrize(
    "do",
    [
        lambda client: client.reload(),
        lambda client: client.delete_item(1),
        lambda client: client.delete_user(1),
        lambda client: client.ready(),
    ],
)
def test_what_is_not_the_same_twice_is_sent_once(run, do, failure):
    answers = Answers(failure)
    with pytest.raises(Unavailable):
        run(answers, do)
    assert len(answers.requests) == 1


@both
@pytest.mark.parametrize(
    "failure",
    [
        busy(None),
        busy("3600"),
        busy(formatdate(time.time() + 3600, usegmt=True)),
        busy("soon"),
        httpx.ReadTimeout("slow"),
        Raw(500, headers={"retry-after": "0"}),
        Raw(404, headers={"retry-after": "0"}),
    ],
)
def test_what_a_retry_does_not_help_is_not_retried(run, failure):
    answers = Answers(failure)
    with pytest.raises(ApiError):
        run(answers, lambda client: client.find_users())
    assert len(answers.requests) == 1


@both
def test_retries_end_and_the_error_says_who_did_not_answer(run):
    answers = Answers(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(Unavailable, match="no answer from http://host to GET /v1/users: refused") as caught:
        run(answers, lambda client: client.find_users(), retries=2)
    assert len(answers.requests) == 3
    assert caught.value.status is None
    with pytest.raises(Unavailable, match="whether it was done is not known"):
        run(Answers(httpx.ReadTimeout("")), lambda client: client.reload())


def test_waits_grow_and_keep_to_what_the_server_asks(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    answers = Answers(*[httpx.ConnectError("")] * 8, busy("2"), made(USERS))
    with Client("http://host", retries=9, backoff=0.1, transport=httpx.MockTransport(answers)) as client:
        client.find_users()
    doubled = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, doubled, strict=False))
    assert 2 + 5 <= waits[8] <= 2 + 10


@both
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Refused),
        (403, Refused),
        (404, NotFound),
        (408, InvalidRequest),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (500, ApiError),
        (503, Unavailable),
    ],
)
def test_an_error_has_what_the_server_said(run, status, kind):
    body = {"code": "word", "message": "why", "request_id": "r1", "where": "users.0"}
    answers = Answers(made({"error": body}, status))
    with pytest.raises(ApiError) as caught:
        run(answers, lambda client: client.find_users())
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, "word", "why")
    assert (error.request_id, error.where) == ("r1", "users.0")
    assert str(error) == f"{status} word: why (request r1)"


@both
@pytest.mark.parametrize(
    "answer",
    [
        Raw(502, b"<h1>Bad gateway</h1>", headers={"x-request-id": "r1"}),
        Raw(302, headers={"location": "http://elsewhere/", "x-request-id": "r1"}),
        Raw(200, b"hello", headers={"x-request-id": "r1"}),
        Raw(200, b'{"users": []}', headers={"x-request-id": "r1"}),
    ],
)
def test_an_answer_of_something_else_is_an_error(run, answer):
    answers = Answers(answer)
    with pytest.raises(ApiError, match="not an answer of") as caught:
        run(answers, lambda client: client.find_users())
    assert (caught.value.status, caught.value.request_id) == (answer.status, "r1")
    assert len(answers.requests) == 1  # a redirect is not followed, so the token stays here


@both
def test_a_compressed_answer_is_asked_for_and_read(run):
    packed = gzip.compress(b'{"total": 7, "users": [], "new": 1}')
    answers = Answers(Raw(200, packed, headers={"content-encoding": "gzip"}))
    assert run(answers, lambda client: client.find_users()).total == 7
    assert "gzip" in answers.requests[0].headers["accept-encoding"]
    broken = Answers(Raw(200, b"not gzip", headers={"content-encoding": "gzip"}))
    with pytest.raises(Unavailable, match="no readable answer"):
        run(broken, lambda client: client.find_users())


@both
def test_token_and_trace_are_sent_where_given(run):
    answers = Answers(*[made(ALIVE) for _ in range(3)])
    run(answers, lambda client: client.alive(), token="secret")
    run(answers, lambda client: client.traced(TRACE, request_id="mine").alive(), token="secret")
    run(answers, lambda client: client.alive())
    first, traced, bare = (request.headers for request in answers.requests)
    assert first["authorization"] == traced["authorization"] == "Bearer secret"
    assert (traced["traceparent"], traced["x-request-id"]) == (TRACE, "mine")
    assert not {"traceparent", "x-request-id"} & set(first)
    assert "authorization" not in bare


def test_a_traced_client_leaves_the_first_one_as_it_is():
    answers = Answers(made(ALIVE))
    with Client("http://host", token="secret", transport=httpx.MockTransport(answers)) as client:
        client.traced(TRACE)
        client.alive()
        assert "secret" not in repr(client)
        for given in ({"traceparent": "00-1"}, {"request_id": "a b"}, {"traceparent": f"{TRACE}\n"}):
            with pytest.raises(ConfigError, match="must match"):
                client.traced(**given)
    assert "traceparent" not in answers.requests[0].headers


def test_a_path_in_the_address_is_kept():
    answers = Answers(made(ALIVE))
    with Client("https://host/rec/", transport=httpx.MockTransport(answers)) as client:
        client.alive()
    assert str(answers.requests[0].url) == "https://host/rec/healthz"


@pytest.mark.parametrize(
    ("address", "given"),
    [
        ("host:8000", {}),
        ("http://", {}),
        ("ftp://host", {}),
        ("http://host?a=1", {}),
        ("http://me:hunter2@host", {}),
        ("http://host:port", {}),
        ("http://host", {"token": "a\n"}),
        ("http://host", {"token": ""}),
        ("http://host", {"timeout": 0}),
        ("http://host", {"retries": -1}),
        ("http://host", {"backoff": float("nan")}),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_can_not_be_asked_is_refused(kind, address, given):
    with pytest.raises(ConfigError) as caught:
        kind(address, **given)
    assert "hunter2" not in str(caught.value)


def test_an_id_that_is_too_long_for_an_address_is_refused():
    with Client("http://host") as client, pytest.raises(DataError, match="too long"):
        client.item("x" * 70_000)


def test_without_httpx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "twotower.client.clients")
    with pytest.raises(MissingExtraError, match=r"twotower\[client\]"):
        importlib.import_module("twotower.client.clients")
