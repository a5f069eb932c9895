"""A server that searches in a vector database: same lists, filters passed on, an error when it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from twotower.core.erasure import Erased, Erasures, keyed
from twotower.errors import BundleError, ConfigError
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_manifest
from twotower.retrieval.databases import Columns, Items, database_at, milvus, publish_items
from twotower.server import Settings, create_app
from twotower.server.forgetting import rewritten

pytest.importorskip("pymilvus", reason="needs the extra milvus")
pytest.importorskip("milvus_lite", reason="needs the extra milvus")

Start = Callable[..., TestClient]


def publish(model: Recommender, bundle: Path, address: str) -> None:
    columns = Columns(model.display.drop("item_id"))
    items = Items(model.items.vectors, model.item_ids, columns)
    publish_items(database_at(address), items, read_manifest(bundle)["hash"][:12])


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Give the address of a server of milvus-lite, and what stops it."""
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    server, lite, port = start_server_in_thread(str(tmp_path / "server"))
    yield f"milvus://127.0.0.1:{port}/films", lambda: server.stop(grace=None).wait()
    server.stop(grace=None).wait()
    lite.close()


def lists(client: TestClient, **body: Any) -> Any:
    users = [1000, 1003, {"history": [501, 502]}]
    answer = client.post("/v1/recommend", json={"users": users, "k": 7, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_lists_are_those_of_the_exact_scan(
    model, bundle, serving: Start, asked: TestClient, remote, monkeypatch
) -> None:
    address, stop = remote
    publish(model, bundle, address)
    sent: list[list[str]] = []
    nearest = milvus.Milvus.nearest

    def listening(self: Any, name: str, users: Any, fetch: int, conditions: list[str], more: Any) -> Any:
        sent.append(conditions)
        return nearest(self, name, users, fetch, conditions, more)

    monkeypatch.setattr(milvus.Milvus, "nearest", listening)
    client = serving(index=address)
    assert client.get("/readyz").status_code == 200
    bodies: list[dict[str, Any]] = [
        {},
        {"exclude_seen": False},
        {"filters": {"kind": "kind 1"}},
        {"filters": {"year": {"min": 1985, "max": 2000}, "tags": ["t1", "t2"]}},
        {"filters": {"year": {"min": 1985}}, "deny": [520, 530], "allow": list(range(505, 560))},
        {"filters": {"kind": "kind 7"}},
    ]
    for body in bodies:
        sent.clear()
        assert lists(client, **body) == lists(asked, **body), body
        said = " ".join(one for conditions in sent for one in conditions)
        assert all(column in said for column in body.get("filters", {}))
    sent.clear()
    alone, right = (server.get("/v1/recommend/1000?k=7").json()["items"] for server in (client, asked))
    assert alone == right
    assert "row not in" in sent[0][-1]  # what the user has seen
    put = {"columns": {"kind": "kind 1", "tags": ["t1"], "title": "new", "year": 1990}}
    assert client.put("/v1/items/900", json=put).status_code == 201
    for filters, count in (({"year": {"min": 1989, "max": 1991}}, 4), ({"title": "new"}, 1)):
        found = lists(client, filters=filters, k=60, exclude_seen=False)[0]["items"]
        assert len(found) == count
        assert 900 in [item["item_id"] for item in found]
    wrong = client.post("/v1/recommend", json={"users": [1000], "filters": {"knd": "x"}})
    assert wrong.json()["error"]["where"] == "filters.knd"

    stop()
    monkeypatch.setattr(milvus, "SECONDS", 0.5)
    for answer in (client.post("/v1/recommend", json={"users": [1000]}), client.get("/readyz")):
        assert answer.status_code == 503
        assert "the vector database is not responding" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "1"
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/similar/505").status_code == 200


def test_a_version_that_was_not_published_is_refused(
    model, other_model, bundle, tmp_path: Path, serving: Start
) -> None:
    address = f"milvus:{tmp_path / 'films.db'}"
    publish(model, bundle, address)
    before = read_manifest(bundle)["hash"][:12]
    client = serving(index=address)
    other_model.save(bundle)
    headers = {"authorization": "Bearer the admin's"}
    answer = client.post("/v1/admin/reload", headers=headers)
    assert answer.status_code == 409
    assert f"its current version is {before}. Publish this run" in answer.json()["error"]["message"]
    assert client.get("/v1/model").json()["model"] == before
    with pytest.raises(BundleError, match=f"its current version is {before}. Publish this run"):
        serving(index=address)
    publish(other_model, bundle, address)
    assert lists(client)  # still from the version before
    assert client.post("/v1/admin/reload", headers=headers).json()["previous"] == before
    assert lists(client)
    with pytest.raises(ConfigError, match="the address of a vector database must be milvus://HOST:PORT"):
        create_app(Settings(bundle=bundle, store=str(tmp_path / "e.db"), index="http://films"))


def test_what_was_published_is_found_after_users_were_deleted(model, bundle, tmp_path: Path) -> None:
    """A server that is started again then has the same items."""
    address, users = f"milvus:{tmp_path / 'films.db'}", [str(user) for user in model.user_ids[:2]]
    publish(model, bundle, address)
    before = read_manifest(bundle)["hash"]
    for n in (1, 2):
        gone = [Erased(place, keyed("k", user), 0, 0, 0.0) for place, user in enumerate(users[:n], 1)]
        assert rewritten(bundle, Erasures("k", gone, "s")) == ""
        left = Recommender.load(bundle, index=address)
        assert len(left.user_ids) == len(model.user_ids) - n
        expected = Recommender.load(bundle, index=False).recommend([1005], k=5)
        assert left.recommend([1005], k=5)["item_id"].equals(expected["item_id"])
    assert read_manifest(bundle)["hash"] != before
    left.save(bundle)  # another model, as far as it says
    with pytest.raises(BundleError, match="Publish this run"):
        Recommender.load(bundle, index=address)
