"""What the server answers, against the library and against brute force."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from small_server import COLD_ITEM, COLD_USER, HERE, N_ITEMS, N_USERS, fitted

import twotower as tt
from twotower.server.response_models import (
    ItemAnswer,
    ItemsAnswer,
    MapAnswer,
    ModelAnswer,
    OneListAnswer,
    PlacesAnswer,
    RecommendAnswer,
    ScoreAnswer,
    SimilarAnswer,
    UserAnswer,
    UsersAnswer,
    UsersForAnswer,
)


def listed(client, body):
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return RecommendAnswer.model_validate(answer.json()).results


def ids(result):
    return [item.item_id for item in result.items]


def seen_by(model, user):
    return {500 + int(i) for i in model.seen[user - 1000]}


# the same as the library


def test_pairs_not_known_are_null_and_counted(asked, model):
    pairs = [{"user_id": u, "item_id": i} for u, i in [(1003, 501), (9, 501), (1003, 77), (9, 77)]]
    found = asked.post("/v1/score", json={"pairs": pairs}).json()
    expected = model.score(pl.DataFrame(pairs[:1]))["score"].to_list()
    assert [one["score"] for one in found["results"]] == [*expected, None, None, None]
    assert found["unknown"] == 3
    answer = asked.post("/v1/score", json={"pairs": pairs, "strict": True})
    assert answer.status_code == 422
    assert "pairs.1: user 9" in answer.json()["error"]["message"]


def test_items_of_filters_not_known_are_left_out_and_counted(asked):
    body = {"users": [1003], "allow": [501, 77, 502, 503], "deny": [502, 78], "exclude_seen": False}
    found = asked.post("/v1/recommend", json=body).json()
    assert {item["item_id"] for item in found["results"][0]["items"]} == {501, 503}
    assert found["unknown"] == 2
    assert asked.post("/v1/recommend", json=body | {"strict": True}).status_code == 422


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 7, N_ITEMS])
def test_lists_are_the_librarys(asked, model, k, exclude_seen):
    users = [1003, 1000, COLD_USER]
    results = listed(asked, {"users": users, "k": k, "exclude_seen": exclude_seen})
    table = model.recommend(users, k, exclude_seen=exclude_seen)
    for user, result in zip(users, results, strict=True):
        own = table.filter(table["user_id"] == user)
        assert result.user_id == user
        assert ids(result) == own["item_id"].to_list()
        assert [item.score for item in result.items] == own["score"].to_list()
        assert [item.rank for item in result.items] == own["rank"].to_list()
        assert [item.display["title"] for item in result.items] == own["title"].to_list()
        assert result.known
        assert result.events == 0
        alone = OneListAnswer.model_validate(
            asked.get(f"/v1/recommend/{user}", params={"k": k, "exclude_seen": exclude_seen}).json()
        )
        assert alone.items == result.items


def test_similar_items_are_the_librarys(asked, model):
    answer = SimilarAnswer.model_validate(asked.get("/v1/similar/507?k=9").json())
    table = model.similar_items([507], 9)
    assert ids(answer) == table["similar_item_id"].to_list()
    assert [item.score for item in answer.items] == table["score"].to_list()


def test_scores_are_the_librarys(asked, model):
    pairs = [{"user_id": 1000 + i % 7, "item_id": 500 + i} for i in range(N_ITEMS)]
    answer = ScoreAnswer.model_validate(asked.post("/v1/score", json={"pairs": pairs}).json())
    expected = model.score(pl.DataFrame(pairs))["score"].to_list()  # of a model that ranks
    assert answer.unknown == 0
    assert [scored.score for scored in answer.results] == expected
    assert {scored.prediction for scored in answer.results} == {None}  # it predicts no label
    npt.assert_allclose(
        [scored.score for scored in answer.results],
        [model.users.vectors[p["user_id"] - 1000] @ model.items.vectors[p["item_id"] - 500] for p in pairs],
        rtol=1e-5,
        atol=1e-6,
    )


def test_old_names_of_a_query_still_work(asked):
    new = {"users": [{"user": "new", "history": [501, 504]}], "k": 10}
    old = {"users": [{"id": "new", "items": [501, 504]}], "k": 10}
    assert listed(asked, old) == listed(asked, new)
    schema = asked.get("/openapi.json").json()["components"]["schemas"]["UserQuery"]["properties"]
    assert {name for name, field in schema.items() if field.get("deprecated")} == {"id", "items"}


@pytest.mark.parametrize("both", [{"user": 1003, "id": 1003}, {"history": [501], "items": [501]}])
def test_both_names_of_one_value_are_refused(asked, both):
    answer = asked.post("/v1/recommend", json={"users": [both]})
    assert answer.status_code == 422
    assert "is the old name of" in answer.text


def test_a_new_user_by_items_is_folded_in(asked, model):
    (result,) = listed(asked, {"users": [{"history": [501, 504, 507]}], "k": 10})
    table = model.recommend(tt.Query(history=[501, 504, 507]), 10)
    assert result.user_id is None
    assert not result.known
    assert ids(result) == table["item_id"].to_list()
    npt.assert_allclose([i.score for i in result.items], table["score"].to_list(), rtol=1e-6)


def test_a_new_user_by_features(asked, model):
    results = listed(
        asked, {"users": [{"features": {"group": 1}}, {"features": {"group": 2}, "id": "new"}], "k": N_ITEMS}
    )
    vectors = model.encode_queries(tt.Queries.of(features=pl.DataFrame({"group": [1, 2]})))
    for result, vector in zip(results, vectors, strict=True):
        expected = vector @ model.items.vectors.T
        assert ids(result) == [500 + int(i) for i in np.argsort(-expected, kind="stable")]


def test_a_new_user_by_features_and_items_is_drawn_from_the_one_by_the_other(asked, model):
    by_both, by_features = listed(
        asked,
        {
            "users": [{"features": {"group": 1}, "history": [501]}, {"features": {"group": 1}}],
            "k": N_ITEMS - 1,
        },
    )
    vector = model.encode_queries(tt.Queries.of(features=pl.DataFrame({"group": [1]})))[0]
    none = np.empty(0, np.int64)
    moved = model.folding.moved(vector, none, None, np.array([1]), None)
    expected = moved @ model.items.vectors.T
    npt.assert_allclose(
        [i.score for i in by_both.items], [expected[i.item_id - 500] for i in by_both.items], rtol=1e-5
    )
    assert 501 not in ids(by_both)
    assert 501 in ids(by_features)


def test_nothing_known_is_the_typical_user(asked, model):
    (result,) = listed(asked, {"users": [{"features": {}}], "k": N_ITEMS})
    expected = model.folding.typical @ model.items.vectors.T
    assert ids(result) == [500 + int(i) for i in np.argsort(-expected, kind="stable")]


# candidates


def test_allow_deny_and_seen_leave_exactly_the_rest(asked, model):
    allow, deny = list(range(510, 540)), [511, 512]
    (result,) = listed(asked, {"users": [1002], "k": N_ITEMS, "allow": allow, "deny": deny})
    assert set(ids(result)) == set(allow) - set(deny) - seen_by(model, 1002)


@pytest.mark.parametrize(
    ("filters", "test"),
    [
        ({"kind": "kind 1"}, lambda i: i % 3 == 1),
        ({"kind": ["kind 1", "kind 2", "no such"]}, lambda i: i % 3 > 0),
        ({"year": {"min": 1970, "max": 1975}}, lambda i: 10 <= i <= 15),
        ({"year": {"min": 2000}, "kind": "kind 0"}, lambda i: i >= 40 and i % 3 == 0),
        ({"year": 1965}, lambda i: False),
        ({"year": 1966}, lambda i: i == 6),
        ({"year": "1966"}, lambda i: False),
        ({"tags": "t2"}, lambda i: i % 4 == 2),
        ({"tags": ["t2", "all"]}, lambda i: True),
        ({"kind": []}, lambda i: False),
    ],
)
def test_filters_leave_exactly_what_meets_them_here_and_in_the_library(asked, model, filters, test):
    how = {"k": N_ITEMS, "exclude_seen": False, "filters": filters}
    (result,) = listed(asked, {"users": [1002], **how})
    expected = {500 + i for i in range(N_ITEMS) if test(i)}
    assert set(ids(result)) == expected
    assert model.recommend(1002, **how)["item_id"].to_list() == ids(result)
    alike = model.similar_items(503, N_ITEMS - 1, filters=filters, deny=[505])
    assert set(alike["similar_item_id"]) == expected - {503, 505}
    how = {"item_id": 503, "k": N_ITEMS - 1, "filters": filters, "deny": [505, 999]}
    answer = SimilarAnswer.model_validate(asked.post("/v1/similar", json=how).json())
    assert (ids(answer), answer.unknown) == (alike["similar_item_id"].to_list(), 1)


def test_filters_and_allow_are_both_met(asked):
    (result,) = listed(
        asked,
        {
            "users": [1002],
            "k": N_ITEMS,
            "exclude_seen": False,
            "filters": {"kind": "kind 1"},
            "allow": [501, 502],
        },
    )
    assert ids(result) == [501]


# reasons


@pytest.mark.parametrize(
    "user", [1003, {"history": [501, 504, 504]}, {"features": {"group": 0}, "history": [503]}]
)
def test_reasons_add_up_to_the_score(asked, user):
    (result,) = listed(asked, {"users": [user], "k": 8, "explain": 2})
    for item in result.items:
        because = item.because
        parts = [reason.contribution for reason in because.items]
        assert parts == sorted(parts, reverse=True)
        assert len(parts) <= 2
        assert because.base + sum(parts) + because.rest == pytest.approx(item.score, abs=1e-5)
    assert any(item.because.items for item in result.items)


def test_reasons_are_the_librarys(asked, model):
    (result,) = listed(asked, {"users": [1003], "k": 3, "explain": 50})
    for item in result.items:
        table = model.explain(1003, [item.item_id])
        own = {r.item_id: r.contribution for r in item.because.items}
        expected = dict(zip(table["because_item_id"], table["contribution"], strict=True))
        assert item.because.base == pytest.approx(table["base"][0])
        for name, part in own.items():
            assert part == pytest.approx(expected[name])


# what the page asks


def test_the_model_is_described(asked):
    answer = ModelAnswer.model_validate(asked.get("/v1/model").json())
    assert (answer.users, answer.items, answer.live_items) == (N_USERS, N_ITEMS, 0)
    assert answer.label == "stars"
    assert answer.like >= 1.5
    assert answer.display == ["title", "kind", "year", "tags"]
    assert answer.category == "kind"


def test_users_are_found_by_the_beginning_of_their_id(asked):
    answer = UsersAnswer.model_validate(asked.get("/v1/users?query=101&limit=3").json())
    assert answer.total == 10
    assert [user.user_id for user in answer.users] == [1010, 1011, 1012]
    assert UsersAnswer.model_validate(asked.get("/v1/users?query=.*").json()).total == 0
    assert UsersAnswer.model_validate(asked.get("/v1/users").json()).total == N_USERS


def test_what_a_user_watched(asked, model):
    answer = UserAnswer.model_validate(asked.get("/v1/users/1003").json())
    assert {happened.item_id for happened in answer.history} == seen_by(model, 1003)
    values = [happened.value for happened in answer.history]
    assert values == sorted(values, reverse=True)
    nobody = UserAnswer.model_validate(asked.get("/v1/users/nobody").json())
    assert (nobody.known, nobody.seen, nobody.history) == (False, 0, [])


def test_items_are_found_by_their_text(asked, model):
    def found(query, **more):
        answer = ItemsAnswer.model_validate(asked.get("/v1/items", params={"query": query} | more).json())
        return answer.total, [item.item_id for item in answer.items]

    assert found("影 17") == (2, [517, 557])  # 557 is of 2017, and has both words apart
    assert found("KIND 電") == (0, [])
    assert found("ＫＩＮＤ 电 1979", limit=1) == (1, [519])  # in any width and case
    everything, first = found("", limit=2)
    counts = np.bincount(model.seen.values, minlength=N_ITEMS)
    assert everything == N_ITEMS
    assert first == [500 + row for row in np.argsort(-counts, kind="stable")[:2]]
    assert [item["item_id"] for item in asked.get("/v1/items?query=559").json()["items"]] == [COLD_ITEM]
    assert asked.get("/v1/items", params={"query": "(["}).json()["items"] == []
    one = ItemAnswer.model_validate(asked.get(f"/v1/items/{COLD_ITEM}").json())
    assert (one.trained, one.live) == (False, False)


def test_the_map_shows_every_item_once(asked):
    answer = MapAnswer.model_validate(asked.get("/v1/map").json())
    assert sorted(answer.items) == list(range(500, 500 + N_ITEMS))
    assert answer.categories == ["kind 0", "kind 1", "kind 2"]
    assert [answer.categories[c] for c in answer.category] == [f"kind {i % 3}" for i in range(N_ITEMS)]
    assert max(map(abs, answer.x + answer.y)) <= 1
    assert np.std(answer.x) > 0.1
    assert (answer.total, answer.every) == (N_ITEMS, 1)
    first, second = answer.explained
    assert 1 > first > second > 0
    assert first + second <= 1
    at_the_edge = {i for i in range(N_ITEMS) if max(abs(answer.x[i]), abs(answer.y[i])) == 1}
    assert set(answer.beyond) == at_the_edge
    assert at_the_edge


def test_places_on_the_map_are_those_of_the_map(asked):
    whole = asked.get("/v1/map").json()
    body = {"items": [517, "nothing", 503], "user": 1003}
    answer = PlacesAnswer.model_validate(asked.post("/v1/map", json=body).json())
    for place in answer.items:
        at = whole["items"].index(place.item_id)
        assert (place.x, place.y, place.beyond) == (whole["x"][at], whole["y"][at], at in whole["beyond"])
    assert [place.item_id for place in answer.items] == [517, 503]
    assert answer.user is not None
    assert abs(answer.user.x) <= 1
    assert asked.post("/v1/map", json={}).json()["user"] is None
    assert asked.post("/v1/map", json={"user": "nobody"}).status_code == 404


def test_users_for_an_item_do_not_have_it_and_have_the_highest_scores(asked, model):
    answer = UsersForAnswer.model_validate(asked.get("/v1/users-for/503?k=5").json())
    have = {user for user in range(1000, 1000 + N_USERS) if 503 in seen_by(model, user)}
    assert have
    scores = model.users.vectors @ model.items.vectors[3]
    best = [1000 + row for row in np.argsort(-scores, kind="stable") if 1000 + row not in have][:5]
    assert [user.user_id for user in answer.users] == best
    assert [user.score for user in answer.users] == pytest.approx(sorted(scores[np.array(best) - 1000])[::-1])
    assert asked.get("/v1/users-for/77").status_code == 404


@pytest.mark.parametrize(("verb", "said"), [(None, "rated"), ("listen to", "listened to")])
def test_the_verb_is_the_schemas_or_guessed(serving, tmp_path, verb, said):
    fitted(verb=verb, epochs=1).save(tmp_path / "worded")
    answer = serving(bundle=tmp_path / "worded", store=str(tmp_path / "worded.db")).get("/v1/model").json()
    assert answer["verb"]["past"] == said


def test_ids_of_text_go_through_paths_and_bodies(tmp_path, serving):
    fitted(ids="str").save(tmp_path / "text")
    asked = serving(bundle=tmp_path / "text", store=str(tmp_path / "text.db"))
    user, item = "u/1003", "i\n507"
    (result,) = listed(asked, {"users": [user], "k": 3})
    alone = asked.get(f"/v1/recommend/{quote(user, safe='')}?k=3").json()
    assert alone["user_id"] == user
    assert [i["item_id"] for i in alone["items"]] == ids(result)
    assert asked.get(f"/v1/similar/{quote(item, safe='')}").json()["item_id"] == item
    done = asked.post("/v1/events", json={"events": [{"id": "1", "user_id": user, "item_id": item}]})
    assert done.json() == {"stored": 1, "duplicates": 0}
    assert asked.put("/v1/items/new%2Fone", json={"columns": {"kind": "kind 1"}}).status_code == 201
    assert asked.get("/v1/items/new%2Fone").json()["item_id"] == "new/one"


@pytest.mark.parametrize(("told", "trained"), [(None, True), (None, False), (False, True), (True, False)])
def test_seen_items_follow_the_request_then_the_server_then_the_training(model, tmp_path, told, trained):
    from dataclasses import replace

    from starlette.testclient import TestClient

    from twotower.server import Settings, create_app

    replace(model, training=replace(model.training, exclude_seen=trained)).save(tmp_path / "bundle")
    settings = Settings(bundle=tmp_path / "bundle", store=str(tmp_path / "e.db"), exclude_seen=told, **HERE)
    user = model.user_ids[0]
    seen = set(model.items.ids.gather(model.seen[0]).to_list())
    assert seen
    k = len(model.item_ids)
    with TestClient(create_app(settings)) as client:

        def has_seen(**more):
            one = client.get(f"/v1/recommend/{user}", params={"k": k, **more}).json()["items"]
            many = client.post("/v1/recommend", json={"users": [user], "k": k, **more}).json()["results"]
            assert one == many[0]["items"]
            return bool(seen & {item["item_id"] for item in one})

        assert has_seen() is not (trained if told is None else told)
        assert not has_seen(exclude_seen=True)
        assert has_seen(exclude_seen=False)


def test_values_of_users_features_that_the_model_does_not_know_are_said(asked):
    users = [{"features": {"group": 1}}, {"features": {"group": 77}}, 1003]
    assert asked.post("/v1/recommend", json={"users": users}).json()["unknown_features"] == {"group": 77}
    assert "unknown_features" not in asked.post("/v1/recommend", json={"users": users[::2]}).json()
