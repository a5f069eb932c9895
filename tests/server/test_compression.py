"""Answers are compressed for clients that accept it, and say the same."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from starlette.testclient import TestClient

PATH = "/v1/recommend/1000?k=50"


def raw(client: TestClient, path: str, accept: str, **more: Any) -> tuple[Any, bytes]:
    """Return an answer, and its body as it was sent."""
    with client.stream(
        more.pop("method", "GET"), path, headers={"accept-encoding": accept}, **more
    ) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("accept", ["gzip", "br, gzip;q=0.5", "*"])
def test_a_long_answer_is_compressed(asked: TestClient, accept: str) -> None:
    plain, body = raw(asked, PATH, "identity")
    answer, sent = raw(asked, PATH, accept)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(sent) < len(body) / 2
    assert gzip.decompress(sent) == body
    assert plain.headers["content-length"] == str(len(body))
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("accept", ["identity", "gzip;q=0", "gzip;q=x", "br", ""])
def test_other_clients_get_it_as_it_is(asked: TestClient, accept: str) -> None:
    answer, body = raw(asked, PATH, accept)
    assert "content-encoding" not in answer.headers
    assert body.startswith(b'{"model"')


def test_short_answers_and_errors_stay_as_they_are(asked: TestClient) -> None:
    for path, status in (("/healthz", 200), ("/v1/recommend/1000?k=0", 422), ("/v1/nothing", 404)):
        answer, body = raw(asked, path, "gzip")
        assert answer.status_code == status
        assert "content-encoding" not in answer.headers
        assert body.startswith(b"{")


def test_a_very_long_answer_is_compressed_too(asked: TestClient) -> None:
    users = [1000 + i % 39 for i in range(200)]
    given = {"method": "POST", "json": {"users": users, "k": 50}}
    _, body = raw(asked, "/v1/recommend", "identity", **given)
    answer, sent = raw(asked, "/v1/recommend", "gzip", **given)
    assert len(body) > 1_000_000
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == body
