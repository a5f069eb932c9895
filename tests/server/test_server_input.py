"""Whatever is sent: a 4xx in one form that says what to mend, and never a path, a traceback or a 5xx."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields

import polars as pl
import pytest
from small_server import ADMIN, N_ITEMS, numbers

from twotower.cli.serve import LIMITS
from twotower.core.vocabulary import Vocabulary
from twotower.errors import ConfigError
from twotower.server import Limits, ranking
from twotower.server.response_models import ErrorAnswer


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = ErrorAnswer.model_validate(answer.json()).error
    assert error.request_id == answer.headers["x-request-id"]
    for word in words:
        assert word in error.message, error.message
    assert "Traceback" not in answer.text
    assert "/tmp" not in answer.text
    assert "site-packages" not in answer.text
    return error


RECOMMEND = {"users": [1003], "k": 5}
EVENT = {"id": "a", "user_id": 1003, "item_id": 501}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, ["JSON"]),
        (b"{", 400, ["JSON"]),
        (b'{"users": [1003]', 400, ["JSON"]),
        (b"\xff\xfe", 400, ["JSON"]),
        (b'{"users": ["\\ud800"]}', 400, ["JSON"]),
        (b"[" * 100_000, 400, ["JSON"]),
        (b"null", 422, []),
        (b"[]", 422, []),
        (b'{"users": 1003}', 422, ["users"]),
        (b'{"users": []}', 422, ["users"]),
        (b'{"users": [true]}', 422, ["users"]),
        (b'{"users": [1.5]}', 422, ["users"]),
        (b'{"users": [{}]}', 422, ["a user, features or a history"]),
        (
            b'{"users": [{"history": [501], "labels": [1, 2]}]}',
            422,
            ["one label", "got 2 for 1"],
        ),
        (
            b'{"users": [1003, {"history": [501, 502], "labels": [null, -5]}]}',
            422,
            ["users.1: no label of the training set is negative, so none can be; got -5"],
        ),
        (
            b'{"users": [{"history": [501], "labels": [1e39]}]}',
            422,
            ["users.0: a label must fit a 32-bit float, at most 3.4e+38 in size; got 1e+39"],
        ),
        (b'{"users": [{"user": 1003, "labels": [1]}]}', 422, ["one label", "got 1 for 0"]),
        (b'{"users": [null]}', 422, ["users"]),
        (b'{"users": [""]}', 422, ["users"]),
        (b'{"users": [1003], "k": 0}', 422, ["k"]),
        (b'{"users": [1003], "allow": []}', 422, ["allow", "at least 1"]),
        (b'{"users": [1003], "exclude_seen": "no"}', 422, ["exclude_seen: must be true or false"]),
        (b'{"users": [1003], "exclude_seen": 0}', 422, ["exclude_seen: must be true or false"]),
        (b'{"users": [1003], "k": -1}', 422, ["k"]),
        (b'{"users": [1003], "k": 1e9}', 422, ["k"]),
        (b'{"users": [1003], "k": 1000000}', 422, ["1000"]),
        (b'{"users": [1003], "k": ' + b"9" * 5000 + b"}", 400, ["number"]),
        (b'{"users": [1003], "k": "5"}', 422, ["k"]),
        (b'{"users": [1003], "k": NaN}', 400, ["NaN and Infinity are not JSON"]),
        (b'{"users": [1003], "kk": 5}', 422, ["kk"]),
        (b'{"users": [1003], "explain": 1000}', 422, ["explain"]),
        (b'{"users": [99999]}', 404, ["99999", "features"]),
        (b'{"users": ["no such"]}', 404, ["no such"]),
        (b'{"users": ["a\\u0000b"]}', 422, ["control"]),
        (b'{"users": ["a\\u202eb"]}', 404, []),
        (b'{"users": [9223372036854775808]}', 422, []),
        (b'{"users": [1003], "allow": [77]}', 422, ["77"]),
        (b'{"users": [1003], "deny": ["x"], "strict": true}', 422, ["x"]),
        (b'{"users": [1003], "filters": {"kinds": "a"}}', 422, ["'kind'"]),
        (b'{"users": [1003], "filters": {"kind": {"min": 1}}}', 422, ["numbers"]),
        (b'{"users": [1003], "filters": {"year": {"min": NaN}}}', 400, ["JSON"]),
        (b'{"users": [1003], "filters": {"year": {"min": "x"}}}', 422, ["filters.year"]),
        (b'{"users": [1003], "filters": {"year": [[1]]}}', 422, ["filters.year"]),
        (b'{"users": [1003], "filters": {"' + b"y" * 300 + b'": 1}}', 422, ["256"]),
        (b'{"users": [{"features": {"' + b"y" * 300 + b'": 1}}]}', 422, ["256"]),
        (
            b'{"users": [{"user": 1003, "item": [1]}]}',
            422,
            [
                "there is no 'item' here; there are user, features, history, labels, times, context, at, id, "
                "items"
            ],
        ),
        (b'{"users": [1003], "filters": {"year": null}}', 422, ["filters.year"]),
        (b'{"users": [{"features": {"groop": 1}}]}', 422, ["group"]),
        (b'{"users": [{"features": {"group": [1]}}]}', 422, []),
        (b'{"users": [{"features": {"group": {"a": 1}}}]}', 422, []),
        (b'{"users": [{"features": {"group": [1, "a", null, [2]]}}]}', 422, []),
        (b'{"users": [{"features": {"group": ' + b"9" * 400 + b"}}]}", 400, ["number"]),
        (b'{"users": [{"items": [77]}]}', 422, ["77"]),
        (b'{"users": [{"id": 1003, "features": {}}]}', 422, ["1003"]),
    ],
)
def test_recommend_says_what_is_wrong(asked, body, status, words):
    refused(asked.post("/v1/recommend", content=body), status, *words)


@pytest.mark.parametrize(
    ("body", "where", "message"),
    [
        ({"users": []}, "users", "users: must have at least 1 entry"),
        ({"users": [1003], "k": 0}, "k", "k: must be at least 1, got 0"),
        ({"users": [1003], "k": 2.5}, "k", "k: must be a whole number, got 2.5"),
        ({"users": [1003], "strict": 1}, "strict", "strict: must be true or false, got 1"),
        ({"users": [1.5]}, "users.0.id", "users.0.id: must be a whole number or text, got 1.5"),
        ({"users": 3}, "users", "users: must be a list, got 3"),
        ({}, "users", "users: is missing"),
        ([], None, "the body must be an object"),
        (
            {"user_id": 3},
            None,
            "the body: there is no 'user_id' here; there are k, allow, deny, strict, filters, users, "
            "exclude_seen, explain, diversity",
        ),
        (
            {"users": [1003], "filters": {"year": None}},
            "filters.year.value",
            "filters.year.value: must be true or false or a whole number or a number or text, got null",
        ),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(asked, body, where, message):
    error = refused(asked.post("/v1/recommend", json=body), 422)
    assert (error.message, error.where) == (message, where)


def test_an_unknown_user_in_the_path_is_told_where_more_can_be_given(asked):
    error = refused(asked.get("/v1/recommend/newbie"), 404)
    assert error.where == "user_id"
    assert error.message.endswith("; ask POST /v1/recommend, with features (they may be {}) or a history too")
    error = refused(asked.post("/v1/recommend", json={"users": [1003, "newbie"]}), 404)
    assert error.where == "users.1"
    assert error.message.endswith("; give features (they may be {}) or a history too")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": time.time() + 1e6}, ["a day from now"]),
        ({"time": -1e15}, ["1990"]),
        ({"time": 1e300}, ["1990"]),
        ({"time": "yesterday"}, ["time"]),
        ({"time": "2024-01-01"}, ["time"]),
        ({"time": "2024-01-01T00:00:00"}, ["time zone"]),
        ({"time": "9999-12-31T23:59:59Z"}, ["a day from now"]),
        ({"time": True}, ["time"]),
        ({"value": "4"}, ["value"]),
        ({"item_id": 77}, ["77"]),
        ({"item_id": "a\x00"}, []),
        ({"item_id": 501.5}, ["item_id"]),
        ({"user_id": "a\nb"}, ["control"]),
        ({"user_id": "x" * 300}, ["256"]),
        ({"user_id": None}, ["user_id"]),
        ({"id": ""}, ["id"]),
        ({"id": "x" * 300}, ["id"]),
        ({"id": "a\x07"}, ["printable"]),
        ({"id": 7}, ["id"]),
        ({"kind": "like"}, ["kind"]),
        ({"extra": 1}, ["extra"]),
        ({"value": 1e39}, ["a label must fit a 32-bit float", "got 1e+39"]),
        ({"value": -8}, ["no label of the training set is negative, so none can be; got -8"]),
    ],
)
def test_a_wrong_event_is_refused_and_none_beside_it_is_stored(client, change, words):
    body = json.dumps({"events": [{**EVENT, "id": "good"}, {**EVENT, **change}]})
    error = refused(client.post("/v1/events", content=body), 422, "events.1", *words)
    assert error.where.startswith("events.1")
    assert client.get("/v1/users/1003").json()["events"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_not_json(client, value):
    body = json.dumps({"events": [{**EVENT, "value": value}]})
    refused(client.post("/v1/events", content=body), 400, "JSON", "leave such a value out")


@pytest.mark.parametrize(
    ("item", "columns", "words"),
    [
        ("900", {"kinds": "a"}, ["'kind'"]),
        ("900", {"kind": ["a"]}, []),
        ("900", {"tags": "a, b", "kind": {"x": 1}}, []),
        ("900", {"tags": [1, "a", [2]]}, []),
        ("900", {"title": 7}, ["title"]),
        ("900", {"year": "new"}, ["year"]),
        ("900", {"year": 10**30}, []),
        ("nine", {}, ["whole numbers"]),
        ("9223372036854775808", {}, ["whole numbers"]),
        ("9%00", {}, ["control"]),
        ("9" * 1000, {}, []),
    ],
)
def test_a_wrong_item_is_refused(client, item, columns, words):
    refused(client.put(f"/v1/items/{item}", json={"columns": columns}), 422, *words)
    assert client.get("/v1/model").json()["items"] == N_ITEMS


def test_wrong_numbers_in_features(serving, tmp_path):
    numbers().save(tmp_path / "numbers")
    client = serving(bundle=tmp_path / "numbers", store=str(tmp_path / "n.db"))
    for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"inf"', b'"x"', b"[1]"):
        answer = client.post("/v1/recommend", content=b'{"users": [{"features": {"age": %s}}]}' % value)
        refused(answer, 422 if value[:1] in b'"[' else 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/recommend/99999", 404),
        ("GET", "/v1/recommend/1003?k=0", 422),
        ("GET", "/v1/recommend/1003?k=abc", 422),
        ("GET", "/v1/recommend/1003?k=99999999999999999999", 422),
        ("GET", "/v1/recommend/1003?exclude_seen=maybe", 422),
        ("GET", "/v1/recommend/%00", 422),
        ("GET", "/v1/recommend/" + "x" * 5000, 422),
        ("GET", "/v1/recommend/%ff", 404),
        ("GET", "/v1/similar/77", 404),
        ("GET", "/v1/similar/..%2f..%2fetc%2fpasswd", 404),
        ("DELETE", "/v1/items/77", 404),
        ("GET", "/v1/items/77", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v1/", 404),
        ("GET", "/../bundle.json", 404),
        ("PATCH", "/v1/recommend", 405),
        ("POST", "/v1/model", 405),
        ("GET", "/redoc", 404),
        ("GET", "/v1/users?limit=0", 422),
    ],
)
def test_paths_and_queries(asked, method, path, status):
    refused(asked.request(method, path), status)


@pytest.mark.parametrize(
    ("limits", "path", "body", "status"),
    [
        ({"body_bytes": 100}, "/v1/recommend", {**RECOMMEND, "allow": list(range(500, 540))}, 413),
        ({"users": 2}, "/v1/recommend", {"users": [1003] * 3}, 422),
        ({"answer_items": 10}, "/v1/recommend", {"users": [1003] * 3, "k": 5}, 422),
        ({"answer_items": 30}, "/v1/recommend", {"users": [1003], "k": 5, "explain": 9}, 422),
        ({"answer_items": 30}, "/v1/recommend/1003?k=5&explain=9", None, 422),
        ({"answer_bytes": 500}, "/v1/recommend", {"users": [1003] * 3, "k": 5}, 422),
        ({"list_length": 2}, "/v1/recommend", {"users": [{"features": {"group": [1, 2, 3]}}]}, 422),
        ({"work_seconds": 1e-9}, "/v1/recommend", {"users": [1003] * 60}, 503),
        ({"waiting": -2}, "/v1/recommend", {"users": [1003] * 60}, 503),
        ({"list_length": 2}, "/v1/recommend", {**RECOMMEND, "allow": [501, 502, 503]}, 422),
        ({"list_length": 2}, "/v1/recommend", {"users": [{"items": [501, 502, 503]}]}, 422),
        ({"list_length": 2}, "/v1/score", {"pairs": [{"user_id": 1003, "item_id": 501}] * 3}, 422),
        ({"filters": 2}, "/v1/recommend", {**RECOMMEND, "filters": {"kind": ["a", "b", "c"]}}, 422),
        ({"features": 0}, "/v1/recommend", {"users": [{"features": {"group": 1}}]}, 422),
        ({"events": 1}, "/v1/events", {"events": [EVENT, {**EVENT, "id": "b"}]}, 422),
        ({"requests_at_once": 0}, "/v1/recommend", RECOMMEND, 503),
    ],
)
def test_limits_are_kept(serving, limits, path, body, status):
    client = serving(limits=Limits(**limits))
    refused(client.get(path) if body is None else client.post(path, json=body), status)


def test_limits_are_kept_by_what_is_asked_for_in_the_address(serving):
    client = serving(limits=Limits(k=3, explain=1))
    for path in ("/v1/recommend/1003", "/v1/similar/501"):
        assert client.get(f"{path}?k=3").status_code == 200
        refused(client.get(f"{path}?k=4"), 422, "k must be between 1 and 3, got 4")
    refused(client.get("/v1/recommend/1003?k=3&explain=2"), 422, "explain: at most 1, got 2")
    long = serving(limits=Limits(k=5000)).get("/v1/recommend/1003?k=4000&exclude_seen=false")
    assert len(long.json()["items"]) == N_ITEMS


def test_a_body_without_a_length_is_cut_off_too(serving):
    client = serving(limits=Limits(body_bytes=1000))
    refused(client.post("/v1/recommend", content=(b" " * 300 for _ in range(10))), 413)


# who may ask


def test_a_token_is_asked_for_everywhere_but_for_health_and_the_page(serving):
    client = serving(token="the right one")
    assert "bearer" in client.post("/v1/recommend", json=RECOMMEND).headers["www-authenticate"].lower()
    for given in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic the right one"},
        {"authorization": "Bearer é"},
    ):
        headers = {name: value.encode("latin-1") for name, value in given.items()}
        refused(client.post("/v1/recommend", json=RECOMMEND, headers=headers), 401, "TWOTOWER_TOKEN")
        refused(client.get("/v1/model", headers=headers), 401)
    good = {"authorization": "Bearer the right one"}
    assert client.post("/v1/recommend", json=RECOMMEND, headers=good).status_code == 200
    for path in ("/healthz", "/readyz", "/", "/app.js"):
        assert client.get(path).status_code == 200
    for path in ("/metrics", "/openapi.json"):
        refused(client.get(path), 401, "TWOTOWER_TOKEN")
        assert client.get(path, headers=good).status_code == 200
    refused(client.post("/v1/admin/reload", headers=good), 403, "'admin'")
    refused(client.post("/v1/admin/reload"), 401, "TWOTOWER_ADMIN_TOKEN")
    assert client.post("/v1/admin/reload", headers={"authorization": f"Bearer {ADMIN}"}).status_code == 200


def test_without_an_admin_token_nobody_reloads(serving):
    refused(serving(admin_token=None).post("/v1/admin/reload"), 403, "TWOTOWER_ADMIN_TOKEN")


def test_pages_of_other_sites_are_refused(asked):
    refused(asked.post("/v1/recommend", json=RECOMMEND, headers={"origin": "http://evil.example"}), 403)
    refused(asked.post("/v1/recommend", json=RECOMMEND, headers={"origin": "null"}), 403)
    own = {"origin": "http://testserver"}
    assert asked.post("/v1/recommend", json=RECOMMEND, headers=own).status_code == 200


# around requests


def test_a_request_id_is_kept_if_it_is_a_good_one(asked):
    assert asked.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 65, "{}", ""):
        assert asked.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"] != bad


def test_what_is_our_fault_says_so_and_no_more(client, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("secret /tmp/path")

    monkeypatch.setattr(ranking, "listed", fail)
    error = refused(client.post("/v1/recommend", json=RECOMMEND), 500)
    assert "secret" not in error.message
    assert error.request_id in [getattr(r, "fields", {}).get("request_id") for r in caplog.records]
    assert "secret" in caplog.text
    assert 'status="500"' in client.get("/metrics").text


def test_metrics_count(client):
    for path in ("/v1/recommend/1003", "/v1/recommend/1004", "/v1/recommend/99999"):
        client.get(path)
    client.post("/v1/recommend", json={"users": [{"items": [501]}], "allow": [501]})
    client.post("/v1/events", json={"events": [EVENT]})
    client.post("/v1/events", json={"events": [EVENT]})
    text = client.get("/metrics").text
    version = client.get("/v1/model").json()["model"]
    ((run, _),) = [(one["run"], one["share"]) for one in client.get("/v1/models").json()["models"]]
    for line in (
        'twotower_requests_total{method="GET",route="/v1/recommend/{user_id}",status="200"} 2.0',
        'twotower_requests_total{method="GET",route="/v1/recommend/{user_id}",status="404"} 1.0',
        'twotower_request_duration_seconds_count{method="POST",route="/v1/recommend",status="200"} 1.0',
        f'twotower_cold_users_total{{run="{run}"}} 1.0',
        f'twotower_empty_lists_total{{run="{run}"}} 1.0',
        "twotower_events_total 1.0",
        "twotower_duplicate_events_total 1.0",
        f'twotower_items{{run="{run}"}} {float(N_ITEMS)}',
        f'twotower_model_info{{run="{run}",version="{version}"}} 1.0',
    ):
        assert line in text


def test_paths_that_are_none_are_one_label(asked):
    for i in range(5):
        asked.get(f"/no/such/{i}")
    assert "/no/such" not in asked.get("/metrics").text


def test_the_page_loads_nothing_from_elsewhere(asked):
    for path in ("/", "/app.js", "/api.js", "/map.js", "/style.css"):
        answer = asked.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_limits_are_read_from_the_command_line():
    assert Limits.parse([]) == Limits()
    assert Limits.parse(["k=20", " body_seconds = 2.5", "k=30"]) == Limits(k=30, body_seconds=2.5)
    assert tuple(field.name for field in fields(Limits)) == LIMITS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("k", "--limit takes NAME=VALUE, got 'k'; write for example k=200"),
        ("bodybytes=3", "there is no limit 'bodybytes'. Did you mean 'body_bytes'?"),
        ("xyz=3", "there is no limit 'xyz'. There are body_bytes, "),
        ("k=2.5", "the limit k must be a whole number above 0, got '2.5'"),
        ("k=0", "the limit k must be a whole number above 0, got 0"),
        ("body_seconds=nan", "the limit body_seconds must be a number above 0, got nan"),
        ("last_seconds=soon", "the limit last_seconds must be a number above 0, got 'soon'"),
    ],
)
def test_wrong_limits_are_refused(given, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        Limits.parse([given])


@pytest.mark.parametrize(("written", "row"), [("0", 0), ("-0", None), ("00", None), ("+0", None), ("-7", 1)])
def test_an_integer_id_is_written_in_one_way(written, row):
    assert Vocabulary(pl.Series([0, -7])).row(written) == row


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/recommend/1003?exclude_seens=false", ["'exclude_seens'", "Did you mean 'exclude_seen'?"]),
        ("/v1/recommend/1003?k=5&k=6", ["k may be given once"]),
        ("/v1/similar/501?kk=5", ["'kk'", "Did you mean 'k'?"]),
        ("/v1/users?offset=20", ["'offset'", "limit"]),
        ("/v1/model?k=5", ["this path takes none"]),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(client, path, words):
    refused(client.get(path), 422, *words)
