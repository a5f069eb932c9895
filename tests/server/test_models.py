"""Several models in one server: who gets which, rollback, events and items for all, reloads, exposures."""

from __future__ import annotations

import json

import pytest
from small_server import N_USERS
from test_server_changes import BEARER, NEW, ask, event, ids, tell

from twotower.errors import ConfigError
from twotower.server import Settings
from twotower.server.traffic import Traffic

USERS = [1000 + n for n in range(N_USERS - 1)]
SPLIT = {"old": 60.0, "new": 40.0}


@pytest.fixture
def two(serving, bundle, model, other_model, tmp_path):
    """Give a function that starts a server of two models, `old` and `new`."""
    other_model.save(tmp_path / "new")

    def start(**given):
        settings = {"name": "old", "others": {"new": tmp_path / "new"}, "split": SPLIT, "salt": "t"}
        return serving(**(settings | given))

    return start


def lists_of(model, users, k=5):
    frame = model.recommend(users, k)
    return {
        user: part["item_id"].to_list() for (user,), part in frame.group_by("user_id", maintain_order=True)
    }


def answered(client, users, k=5):
    body = {"users": list(users), "k": k}
    return client.post("/v1/recommend", json=body).json()


def version_of(client, run):
    return next(one["model"] for one in client.get("/v1/models").json()["models"] if one["run"] == run)


def test_each_user_gets_the_list_of_their_model_and_its_version(two, model, other_model):
    client, traffic = two(), Traffic(SPLIT, "t")
    models = {"old": model, "new": other_model}
    lists = {run: lists_of(of, USERS) for run, of in models.items()}
    versions = {run: version_of(client, run) for run in models}
    many = answered(client, USERS)
    assert many["model"] is None  # several answered
    for user, one in zip(USERS, many["results"], strict=True):
        run = traffic.model_of(str(user))
        assert (one["run"], one["model"]) == (run, versions[run])
        assert [item["item_id"] for item in one["items"]] == lists[run][user]
        alone = client.get(f"/v1/recommend/{user}?k=5").json()
        assert alone == one | {"model": versions[run]}
    assert {one["run"] for one in many["results"]} == set(SPLIT)
    of_one = [user for user in USERS if traffic.model_of(str(user)) == "new"][:3]
    assert answered(client, of_one)["model"] == versions["new"]
    # Who has no id gets the model with the largest share.
    assert answered(client, [{"history": [501]}])["results"][0]["run"] == "old"
    text = client.get("/metrics").text
    assert f'twotower_lists_total{{run="new"}} {2 * text_count(many, "new") + 3:.1f}' in text
    assert 'twotower_traffic_ratio{run="new"} 0.4' in text


def text_count(many, run):
    return sum(one["run"] == run for one in many["results"])


def test_a_rollback_holds_for_every_server_of_the_store_until_another_split(two):
    client = two()
    moved = client.post("/v1/admin/traffic", json={"shares": {"old": 100}}, headers=BEARER)
    assert [one["share"] for one in moved.json()["models"]] == [100.0, 0.0]
    assert {one["run"] for one in answered(client, USERS)["results"]} == {"old"}
    again = two()  # the same --split
    assert {one["run"] for one in answered(again, USERS)["results"]} == {"old"}
    client.post("/v1/admin/traffic", json={"shares": {"new": 100}}, headers=BEARER)
    again.portal.call(again.app.state.service.models.refresh)  # which it does every second
    assert {one["run"] for one in answered(again, USERS)["results"]} == {"new"}
    client.post("/v1/admin/traffic", json={"shares": {"old": 100}}, headers=BEARER)
    fresh = two(split={"old": 0.0, "new": 100.0})  # another one, chosen later
    assert {one["run"] for one in answered(fresh, USERS)["results"]} == {"new"}
    for wrong in ({"old": 90}, {"nobody": 100}, {"old": -1, "new": 101}):
        refused = client.post("/v1/admin/traffic", json={"shares": wrong}, headers=BEARER)
        assert refused.status_code == 422
        assert refused.json()["error"]["where"] == "shares"
    assert client.post("/v1/admin/traffic", json={"shares": {"old": 100}}).status_code == 401
    assert {one["run"] for one in answered(client, USERS)["results"]} == {"old"}


def test_events_and_items_are_for_every_model(two, serving, bundle, tmp_path):
    both, user = two(), USERS[3]
    tell(both, event("e", user, 510), event("f", user, 511))
    assert both.put("/v1/items/900", json={"columns": NEW}).status_code == 201
    lists = {}
    for run in SPLIT:
        body = {"shares": {run: 100}}
        assert both.post("/v1/admin/traffic", json=body, headers=BEARER).status_code == 200
        lists[run] = ask(both, user, k=100)
        assert {510, 511}.isdisjoint(ids(lists[run]))
        assert 900 in ids(lists[run])
    alone = {
        "old": serving(),
        "new": serving(bundle=tmp_path / "new"),
    }
    for run, client in alone.items():
        assert ids(ask(client, user, k=100)) == ids(lists[run])


def test_each_is_reloaded_and_a_bad_one_keeps_its_model(two, model, other_model, bundle, tmp_path):
    client = two()
    before = {run: version_of(client, run) for run in SPLIT}
    model.save(tmp_path / "new")
    done = client.post("/v1/admin/reload?run=new", headers=BEARER).json()
    assert done["runs"] == {"new": {"model": before["old"], "previous": before["new"]}}
    assert version_of(client, "old") == before["old"]
    other_model.save(bundle)
    (tmp_path / "new" / "bundle.json").unlink()
    refused = client.post("/v1/admin/reload", headers=BEARER)
    assert refused.status_code == 409
    message = refused.json()["error"]["message"]
    assert "the bundle of new was refused" in message
    assert "(reloaded before: old)" in message
    assert version_of(client, "old") == before["new"]
    assert client.post("/v1/admin/reload?run=nobody", headers=BEARER).status_code == 404


def test_who_was_answered_by_what_is_recorded_once(two):
    client, traffic = two(), Traffic(SPLIT, "t")
    service = client.app.state.service
    for _ in range(2):
        answered(client, [*USERS[:10], {"history": [501]}, {"id": "named", "history": [501]}])
    client.portal.call(service.exposures.flush)
    records = client.portal.call(service.store.records, "exposures")
    found = [json.loads(record.value) for record in records]
    expected = {*map(str, USERS[:10]), "named"}
    assert {one["user"] for one in found} == expected == {record.user for record in records}
    assert len(found) == len(expected)
    for one in found:
        assert one["run"] == traffic.model_of(one["user"])
        assert one["version"] == version_of(client, one["run"])
        assert (one["shares"], one["salt"]) == (SPLIT, "t")
    client.post("/v1/admin/traffic", json={"shares": {"old": 100}}, headers=BEARER)
    answered(client, USERS)  # nothing is compared now
    client.portal.call(service.exposures.flush)
    assert len(client.portal.call(service.store.records, "exposures")) == len(found)


def test_settings_that_do_not_fit_are_refused(bundle, tmp_path):
    other = {"other": tmp_path / "o"}
    for given, message in (
        ({"others": other}, "several models need a split"),
        ({"split": {"a": 100.0}}, "several models need a split"),
        ({"others": other, "split": {}, "name": "other"}, "must have different names, got other, other"),
        ({"shadow": {"bundle": tmp_path}, "name": "bundle"}, "must have different names"),
    ):
        with pytest.raises(ConfigError, match=message):
            Settings(bundle=bundle, store="e.db", **given)
    assert Settings(bundle="runs/ranked/bundle", store="e.db").main == "ranked"
