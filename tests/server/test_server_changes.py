"""What changes the answers: events, items, a new model; and what a restart leaves of it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from small_server import ADMIN, COLD_ITEM, N_ITEMS, fitted

import twotower as tt

BEARER = {"authorization": f"Bearer {ADMIN}"}


def event(name, user, item, **other):
    return {"id": name, "user_id": user, "item_id": item, **other}


def tell(client, *events):
    answer = client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(client, user, k=N_ITEMS, **query):
    answer = client.get(f"/v1/recommend/{user}", params={"k": k, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(result):
    return [item["item_id"] for item in result["items"]]


# events


def test_an_event_counts_in_the_next_answer(client, model):
    before = ask(client, 1003)
    first = ids(before)[0]
    assert tell(client, event("a", 1003, first, value=4.0)) == {"stored": 1, "duplicates": 0}
    after = ask(client, 1003)
    assert first not in ids(after)
    assert set(ids(after)) == set(ids(before)) - {first}
    assert after["events"] == 1
    # moved exactly as the library folds in
    past, of_past = model.history_of(3)
    row = np.array([first - 500])
    vector = model.folding.moved(
        model.users.vectors[3], past, of_past, row, model.targets(row, np.array([4.0]))
    )
    expected = vector @ model.items.vectors.T
    npt.assert_allclose(
        [i["score"] for i in after["items"]], [expected[i - 500] for i in ids(after)], rtol=1e-5, atol=1e-6
    )
    assert not np.allclose(vector, model.users.vectors[3])
    assert ids(ask(client, 1004)) == [int(i) for i in model.recommend([1004], N_ITEMS)["item_id"]]


def test_an_event_sent_again_changes_nothing(client):
    tell(client, event("a", 1003, 501, value=4.0))
    once = ask(client, 1003)
    again = event("a", 1003, 501, value=4.0), event("a", 1003, 501, value=4.0, time=1_700_000_000)
    assert tell(client, *again) == {"stored": 0, "duplicates": 2}
    assert ask(client, 1003) == once


def test_a_skip_is_out_of_the_list_and_moves_nothing(client):
    before = ask(client, 1003)
    tell(client, event("a", 1003, ids(before)[0], kind="skip"))
    after = ask(client, 1003)
    assert [(i["item_id"], i["score"]) for i in after["items"]] == [
        (i["item_id"], i["score"]) for i in before["items"][1:]
    ]
    assert after["events"] == 0


def test_a_new_user_is_known_by_events_alone(client, model):
    assert client.get("/v1/recommend/new").status_code == 404
    tell(client, event("a", "new", 501), event("b", "new", 504))
    table = model.recommend(tt.Query(history=[501, 504]), N_ITEMS - 2)
    found = ask(client, "new")
    assert ids(found) == table["item_id"].to_list()
    assert not found["known"]
    scored = client.post("/v1/score", json={"pairs": [{"user_id": "new", "item_id": 510}]}).json()["results"]
    own = next(i for i in found["items"] if i["item_id"] == 510)
    assert scored[0]["score"] == pytest.approx(own["score"], rel=1e-5)


def test_events_come_one_after_the_other_to_the_same_as_all_at_once(serving, tmp_path):
    one = serving()
    for n, item in enumerate((501, 504, 510)):
        tell(one, event(str(n), 1003, item, value=2.0 + n))
        ask(one, 1003)
    two = serving(store=str(tmp_path / "two.db"))
    tell(two, *(event(str(n), 1003, item, value=2.0 + n) for n, item in enumerate((501, 504, 510))))
    assert ask(one, 1003) == ask(two, 1003)


def test_events_survive_a_restart(serving):
    first = serving()
    tell(first, event("a", 1003, 501, value=4.0), event("b", "new", 504))
    before = ask(first, 1003), ask(first, "new")
    second = serving()
    assert (ask(second, 1003), ask(second, "new")) == before


def test_features_and_events_of_a_new_user_count_together(client, model):
    tell(client, event("a", "new", 501))
    body = {"users": [{"id": "new", "features": {"group": 1}}], "k": N_ITEMS}
    (result,) = client.post("/v1/recommend", json=body).json()["results"]
    assert result["events"] == 1
    assert 501 not in ids(result)
    (other,) = client.post("/v1/recommend", json={**body, "users": [{"features": {"group": 1}}]}).json()[
        "results"
    ]
    assert [i["score"] for i in result["items"]] != [
        i["score"] for i in other["items"] if i["item_id"] != 501
    ]


def test_reasons_name_fresh_events_and_add_up(client):
    tell(client, event("a", 1003, 555, value=6.0))
    for item in ask(client, 1003, explain=50)["items"]:
        because = item["because"]
        parts = [r["contribution"] for r in because["items"]]
        assert because["base"] + sum(parts) + because["rest"] == pytest.approx(item["score"], abs=1e-5)
    named = {r["item_id"] for i in ask(client, 1003, explain=50)["items"] for r in i["because"]["items"]}
    assert 555 in named


def test_history_shows_events_first(client):
    tell(client, event("a", 1003, 501, value=4.0, time=1_700_000_000), event("b", 1003, 502, kind="skip"))
    history = client.get("/v1/users/1003").json()["history"]
    assert [(h["item_id"], h["kind"]) for h in history[:2]] == [(502, "skip"), (501, "interaction")]
    assert history[1]["time"] == 1_700_000_000


def test_times_as_text_are_read(client):
    tell(client, event("a", 1003, 501, time="2024-01-01T00:00:00Z"))
    assert client.get("/v1/users/1003").json()["history"][0]["time"] == 1_704_067_200


# items


NEW = {"title": "新", "kind": "kind 1", "year": 2024, "tags": ["t2", "all"]}


def test_a_new_item_is_recommendable_at_once_and_after_a_restart(serving, model):
    client = serving()
    answer = client.put("/v1/items/900", json={"columns": NEW})
    assert answer.status_code == 201
    assert answer.json()["display"] == NEW
    vector = model.encode_items(pl.DataFrame({"kind": ["kind 1"], "tags": [["t2", "all"]]}))[0]
    for server in (client, serving()):
        found = ask(server, 1003, N_ITEMS + 1, exclude_seen=False)
        assert len(found["items"]) == N_ITEMS + 1
        own = next(i for i in found["items"] if i["item_id"] == 900)
        assert own["score"] == pytest.approx(float(vector @ model.users.vectors[3]), rel=1e-5)
        assert own["display"] == NEW
        scores = [i["score"] for i in found["items"]]
        assert scores == sorted(scores, reverse=True)
        assert server.get("/v1/items?query=新").json()["items"][0]["item_id"] == 900
        assert 900 in [i["item_id"] for i in server.get("/v1/similar/501?k=60").json()["items"]]
        assert server.get("/v1/model").json()["live_items"] == 1


def test_a_new_item_like_a_cold_one_is_most_like_it(client):
    client.put("/v1/items/900", json={"columns": {"kind": f"kind {59 % 3}", "tags": [f"t{59 % 4}", "all"]}})
    found = client.get("/v1/similar/900?k=1").json()["items"][0]
    assert found["item_id"] == COLD_ITEM
    assert found["score"] == pytest.approx(1, abs=1e-5)
    assert client.get(f"/v1/similar/{COLD_ITEM}?k=1").json()["items"][0]["item_id"] == 900


def test_new_items_meet_filters_lists_and_events(client):
    client.put("/v1/items/900", json={"columns": NEW})
    client.put("/v1/items/901", json={"columns": {"kind": "kind 2"}})

    def found(**body):
        (result,) = client.post(
            "/v1/recommend", json={"users": [1003], "k": 100, "exclude_seen": False, **body}
        ).json()["results"]
        return set(ids(result))

    assert found(filters={"kind": "kind 1"}) == {500 + i for i in range(1, N_ITEMS, 3)} | {900}
    assert found(filters={"year": {"min": 2020}}) == {900}
    assert found(filters={"tags": "t2", "kind": ["kind 1", "kind 2"]}) >= {900}
    assert found(allow=[900, 501]) == {900, 501}
    assert found(deny=[900]) == set(range(500, 500 + N_ITEMS)) | {901}
    tell(client, event("a", 1003, 900, value=5.0))
    assert 900 not in ids(ask(client, 1003, 100))
    reasons = ask(client, 1003, 5, explain=50)["items"][0]["because"]
    assert reasons["base"] + sum(r["contribution"] for r in reasons["items"]) + reasons[
        "rest"
    ] == pytest.approx(ask(client, 1003, 5)["items"][0]["score"], abs=1e-5)


def test_an_item_put_again_is_another_one(client):
    client.put("/v1/items/900", json={"columns": NEW})
    answer = client.put("/v1/items/900", json={"columns": {"kind": "kind 0", "title": "again"}})
    assert answer.status_code == 200
    found = ask(client, 1003, 100, exclude_seen=False)
    assert ids(found).count(900) == 1
    assert next(i for i in found["items"] if i["item_id"] == 900)["display"]["title"] == "again"


def test_items_taken_away_are_gone_until_they_come_back(serving):
    client = serving()
    client.put("/v1/items/900", json={"columns": NEW})
    for item in (501, 900, COLD_ITEM):
        assert client.delete(f"/v1/items/{item}").status_code == 204
    for server in (client, serving()):
        found = ids(ask(server, 1003, 100, exclude_seen=False))
        assert not {501, 900, COLD_ITEM} & set(found)
        assert len(found) == N_ITEMS - 2
        assert server.get("/v1/similar/501").status_code == 404
        assert server.delete("/v1/items/501").status_code == 404
        assert 501 not in [i["item_id"] for i in server.get("/v1/similar/502?k=60").json()["items"]]
        assert server.get("/v1/items?query=501").json()["items"] == []
    assert client.put("/v1/items/501", json={"columns": {}}).status_code == 201
    assert client.put("/v1/items/900", json={"columns": NEW}).status_code == 201
    for server in (client, serving()):
        assert {501, 900} < set(ids(ask(server, 1003, 100, exclude_seen=False)))
        assert server.get("/v1/items/501").json()["trained"]


def test_a_trained_item_keeps_what_it_was_taught(client):
    answer = client.put("/v1/items/501", json={"columns": NEW})
    assert answer.status_code == 409
    assert "train again" in answer.json()["error"]["message"]


def test_a_cold_item_of_the_model_can_be_put_and_keeps_who_saw_it(client):
    tell(client, event("a", 1003, COLD_ITEM, value=3.0))
    assert client.put(f"/v1/items/{COLD_ITEM}", json={"columns": NEW}).status_code == 200
    found = ask(client, 1003, 100, exclude_seen=False)
    assert ids(found).count(COLD_ITEM) == 1
    assert next(i for i in found["items"] if i["item_id"] == COLD_ITEM)["display"] == NEW
    assert COLD_ITEM not in ids(ask(client, 1003, 100))


def test_two_servers_of_one_store_see_each_others_changes(serving):
    one, two = serving(), serving()
    one.put("/v1/items/900", json={"columns": NEW})
    tell(one, event("a", 1003, 501))
    assert 501 not in ids(ask(two, 1003))
    deadline = time.monotonic() + 10
    while 900 not in ids(ask(two, 1003, 100)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# a new model


def test_a_reload_serves_the_new_model_with_events_and_items(client, bundle, other_model):
    client.put("/v1/items/900", json={"columns": NEW})
    tell(client, event("a", 1003, 501, value=4.0))
    before = client.get("/v1/model").json()["model"]
    other_model.save(bundle)
    answer = client.post("/v1/admin/reload", headers=BEARER)
    assert answer.status_code == 200, answer.text
    assert answer.json()["previous"] == before != answer.json()["model"]
    found = ask(client, 1003, 100)
    assert found["model"] == answer.json()["model"]
    assert 900 in ids(found)
    assert 501 not in ids(found)
    alone = other_model.recommend([1004], N_ITEMS)
    assert [i for i in ids(ask(client, 1004, 100)) if i != 900] == alone["item_id"].to_list()


def test_an_item_that_was_trained_since_is_served_as_trained(client, bundle, model):
    """Item 559 has no interactions in the first model; put here, it is known to a model trained later."""
    client.put(f"/v1/items/{COLD_ITEM}", json={"columns": NEW})
    assert client.get(f"/v1/items/{COLD_ITEM}").json()["live"]
    warm = model.items.warm.copy()
    warm[:] = True
    replace(model, catalogue=replace(model.catalogue, items=replace(model.items, warm=warm))).save(bundle)
    assert client.post("/v1/admin/reload", headers=BEARER).status_code == 200
    item = client.get(f"/v1/items/{COLD_ITEM}").json()
    assert (item["live"], item["trained"], item["display"]["title"]) == (False, True, "电影 59 <b>")


@pytest.mark.parametrize("damage", ["truncate", "remove", "newer", "mixed"])
def test_a_bad_bundle_is_refused_and_the_old_one_stays(client, bundle, other_model, tmp_path, damage):
    before = ask(client, 1003)
    vectors = bundle / "vectors.safetensors"
    if damage == "truncate":
        vectors.write_bytes(vectors.read_bytes()[:-100])
    elif damage == "remove":
        vectors.unlink()
    elif damage == "newer":
        manifest = bundle / "bundle.json"
        manifest.write_text(manifest.read_text().replace('"format": ', '"format": 9'))
    else:
        other_model.save(tmp_path / "other")
        vectors.write_bytes((tmp_path / "other" / "vectors.safetensors").read_bytes())
    answer = client.post("/v1/admin/reload", headers=BEARER)
    assert answer.status_code == 409
    message = answer.json()["error"]["message"]
    assert "the old model is kept" in message
    assert str(tmp_path) not in message
    assert ask(client, 1003) == before
    assert client.get("/readyz").status_code == 200
    metrics = client.get("/metrics").text
    assert 'twotower_reloads_total{result="refused",run=' in metrics


def test_an_item_that_a_new_model_can_not_read_is_left_out_and_said(client, bundle, caplog):
    client.put("/v1/items/900", json={"columns": NEW})
    other = fitted()
    schema = other.encoder.schema.model_copy(update={"display": ("title",)})
    replace(
        other,
        towers=replace(other.towers, encoder=replace(other.encoder, schema=schema)),
        catalogue=replace(other.catalogue, display=other.display.select("item_id", "title")),
    ).save(bundle)
    assert client.post("/v1/admin/reload", headers=BEARER).status_code == 200
    assert client.get("/v1/items/900").status_code == 404
    assert "can't be served by this model" in caplog.text


def test_models_without_labels_take_events_without_values(serving, tmp_path):
    plain = fitted(label=False)
    plain.save(tmp_path / "plain")
    client = serving(bundle=tmp_path / "plain", store=str(tmp_path / "plain.db"))
    tell(client, event("a", 1003, 501))
    assert 501 not in ids(ask(client, 1003))
    answer = client.post("/v1/events", json={"events": [event("b", 1003, 502, value=2.0)]})
    assert answer.status_code == 422
    assert client.get("/v1/model").json()["like"] is None


def test_a_model_of_labels_serves_too(serving, tmp_path):
    model = fitted(objective="squared", positive={})
    model.save(tmp_path / "rating")
    client = serving(bundle=tmp_path / "rating", store=str(tmp_path / "rating.db"))
    pairs = [{"user_id": 1003, "item_id": 501}]
    assert client.get("/v1/model").json()["ranks"] is False
    scored = client.post("/v1/score", json={"pairs": pairs}).json()["results"][0]
    assert scored["prediction"] == model.score(pl.DataFrame(pairs))["prediction"][0]
    tell(client, event("a", 1003, 501, value=4.0))
    moved = client.post("/v1/score", json={"pairs": pairs}).json()["results"][0]
    assert abs(moved["prediction"] - 4.0) < abs(scored["prediction"] - 4.0)
