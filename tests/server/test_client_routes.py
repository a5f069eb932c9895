"""The typed client: every route has a method and the other way round, and answers are those of HTTP."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from in_process import AsyncInProcess, InProcess
from small_server import ADMIN, COLD_ITEM, HERE, uvicorn_of
from starlette.testclient import TestClient

from twotower.client import (
    AsyncClient,
    Client,
    Conflict,
    Diversity,
    Event,
    InvalidRequest,
    NotFound,
    Range,
    Refused,
    UserQuery,
    routes,
)
from twotower.server import Settings, create_app

ADDRESS = "http://testserver"
NEW: UserQuery = {
    "features": {"group": 1},
    "history": [500, 501],
    "labels": [2.0, None],
    "times": [1e9, 1.1e9],
    "at": 1.2e9,
}
LIST: dict[str, Any] = {
    "k": 3,
    "allow": [500, 501, 502, 503],
    "deny": [501],
    "filters": {"year": {"min": 1950}},
    "strict": True,
}
EVENT: Event = {
    "id": "c1",
    "user_id": 1001,
    "item_id": 502,
    "kind": "interaction",
    "value": 2.0,
    "time": 1.7e9,
}
CALLS: dict[str, dict[str, Any]] = {
    "recommend": {
        "users": [1001, "1002", NEW],
        "exclude_seen": False,
        "explain": 2,
        "diversity": {"column": "kind", "at_most": 1},
        **LIST,
    },
    "recommend_one": {"user_id": 1001, "k": 3, "exclude_seen": True, "explain": 1},
    "similar_items": {"item_id": 500, "k": 3},
    "similar_items_among": {"item_id": 500, **LIST},
    "users_for": {"item_id": 500, "k": 3},
    "score": {"pairs": [(1001, 500), (1002, 501)], "strict": True},
    "send_events": {"events": [EVENT]},
    "put_item": {"item_id": 900, "columns": {"kind": "kind 1", "year": 1999}},
    "item": {"item_id": 900},
    "delete_item": {"item_id": 900},
    "find_users": {"query": "10", "limit": 3},
    "user": {"user_id": 1001, "limit": 3},
    "find_items": {"query": "kind", "limit": 3},
    "item_map": {},
    "places": {"items": [500], "user": 1001},
    "model": {},
    "models": {},
    "set_traffic": {"shares": {"run": 100}},
    "delete_user": {"user_id": 1003},
    "reload": {"run": "run"},
    "alive": {},
    "ready": {},
    "metrics": {},
}
"""Method -> a call with every argument, in an order in which each works."""


@pytest.fixture(scope="module")
def changed(model, tmp_path_factory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("client") / "run"
    model.save(folder / "bundle")
    hosts = HERE["hosts"]
    settings = Settings(
        folder / "bundle", str(folder / "events.db"), token="the reader's own", admin_token=ADMIN, hosts=hosts
    )
    with TestClient(create_app(settings)) as started:
        yield started


def operation_of(document: dict[str, Any], method: str, path: str) -> tuple[str, str]:
    """Return the operation of the document that a request is for."""
    at = [path] if path in document["paths"] else []
    at = at or [one for one in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), path)]
    assert len(at) == 1, path
    return method.lower(), at[0]


def test_every_route_has_a_method_with_its_parameters_and_the_other_way_round(asked):
    document, found = asked.get("/openapi.json").json(), set()
    schemas = document["components"]["schemas"]
    for name, given in CALLS.items():
        build = getattr(routes, name)
        assert set(given) == set(inspect.signature(build).parameters), name
        call = build(**given)
        method, path = operation_of(document, call.method, call.path)
        operation = document["paths"][path][method]
        found.add((method, path))
        parameters = [one for one in operation.get("parameters", []) if one["in"] == "query"]
        assert set(call.params) == {one["name"] for one in parameters}, name
        body = operation.get("requestBody")
        if body is None:
            assert call.body is None
        else:
            schema = schemas[body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
            assert set(call.body) == set(schema["properties"]), name
        if "200" in operation["responses"] and path != "/metrics":
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            answer = inspect.signature(build).return_annotation
            assert answer == f"Call[{schema['$ref'].rsplit('/', 1)[1]}]"
    assert found == {(method, path) for path, methods in document["paths"].items() for method in methods}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_both_clients_have_every_route_and_say_what_it_takes(kind):
    methods = {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
    assert methods == {*CALLS, "close"}
    for name in CALLS:
        method, build = getattr(kind, name), getattr(routes, name)
        assert inspect.getdoc(method) == inspect.getdoc(build)
        own, *parameters = inspect.signature(method).parameters.values()
        assert own.name == "self"
        assert parameters == list(inspect.signature(build).parameters.values())


@pytest.mark.parametrize(
    ("given", "schema"),
    [(UserQuery, "UserQuery"), (Event, "EventBody"), (Range, "Range"), (Diversity, "DiversityConfig")],
)
def test_a_typed_argument_has_the_keys_of_the_document(asked, given, schema):
    found = asked.get("/openapi.json").json()["components"]["schemas"][schema]
    now = {name for name, value in found["properties"].items() if not value.get("deprecated")}
    assert given.__annotations__.keys() == now
    assert given.__required_keys__ == set(found.get("required", ()))


def told(answer: Any, raw: Any) -> None:
    """Make sure that an answer is what was sent."""
    if answer is None:
        assert raw.status_code == 204
    elif isinstance(answer, str):
        assert answer == raw.text
        assert "twotower_requests_total" in answer
    else:
        assert answer.model_dump(mode="json", exclude_unset=True) == raw.json()


def token_of(name: str) -> str:
    return ADMIN if name in ("set_traffic", "reload", "delete_user") else "the reader's own"


def test_answers_are_those_of_http(changed):
    transport, packed = InProcess(changed), set[str]()
    for name, given in CALLS.items():
        client = Client(ADDRESS, token=token_of(name), transport=transport)
        told(getattr(client, name)(**given), transport.last)
        packed |= {name} if transport.last.headers.get("content-encoding") == "gzip" else set()
    assert "recommend" in packed
    assert "alive" not in packed


def test_answers_are_those_of_http_for_asyncio_too(changed):
    async def work() -> None:
        transport = AsyncInProcess(changed)
        for name, given in CALLS.items():
            client = AsyncClient(ADDRESS, token=token_of(name), transport=transport)
            told(await getattr(client, name)(**given), transport.last)

    changed.portal.call(work)


def test_lists_are_typed_and_full(asked):
    client = Client(ADDRESS, transport=InProcess(asked))
    known, new = client.recommend([1001, NEW], k=4, explain=1).results
    assert (known.user_id, known.known, new.user_id) == (1001, True, None)
    assert [one.rank for one in new.items] == [1, 2, 3, 4]
    assert new.items[0].because is not None
    raw = asked.post("/v1/recommend", json={"users": [1001], "k": 4}).json()["results"][0]["items"]
    assert [(one.item_id, one.score) for one in known.items] == [
        (one["item_id"], one["score"]) for one in raw
    ]


def test_the_servers_errors_are_raised_with_what_they_say(changed):
    client = Client(ADDRESS, token="the reader's own", transport=InProcess(changed))
    with pytest.raises(NotFound, match="there is no item '7x'") as caught:
        client.item("7x")
    assert (caught.value.code, caught.value.where) == ("not_found", "item_id")
    assert caught.value.request_id
    with pytest.raises(InvalidRequest) as caught:
        client.send_events([{**EVENT, "id": "c2"}, {**EVENT, "id": "c3", "item_id": 7}])
    assert caught.value.where == "events.1.item_id"
    client.send_events([{**EVENT, "id": "c4"}])
    with pytest.raises(Conflict):
        client.send_events([{**EVENT, "id": "c4", "value": 3.0}])
    with pytest.raises(Refused):
        client.reload()
    with pytest.raises(Refused):
        Client(ADDRESS, token="wrong", transport=InProcess(changed)).model()


def test_over_a_socket_the_connection_is_reused_and_the_trace_arrives(asked):
    seen: list[tuple[Any, dict[bytes, bytes]]] = []
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], dict(scope["headers"])))
        await asked.app(scope, receive, send)

    with uvicorn_of(watched) as port, Client(f"http://127.0.0.1:{port}") as client:
        assert client.item(COLD_ITEM).item_id == COLD_ITEM
        for name in ("a/b", "..", "?x=1#y", "100%", "电影"):
            with pytest.raises((NotFound, InvalidRequest)) as caught:
                client.item(name)
            assert ascii(name) in str(caught.value) or repr(name) in str(caught.value)
        client.traced(trace).find_items("电影 7", limit=1)
    assert len({peer for peer, _ in seen}) == 1
    assert seen[-1][1][b"traceparent"] == trace.encode()
    assert b"gzip" in seen[0][1][b"accept-encoding"]
