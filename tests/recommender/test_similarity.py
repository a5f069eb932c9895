"""Similar items and users, users for an item, and vectors, against a brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from test_recommender import COLD_ITEM, N_ITEMS, N_USERS, SETTINGS, data, scores_of, seen_by

import twotower as tt
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.recommender import Recommender


@pytest.fixture(scope="module")
def model() -> Recommender:
    settings = {**SETTINGS, "objective": "all_pairs", "positive": 1.0, "dim": 12}
    return tt.TwoTower(**settings).fit(data())


def cosines(model: Recommender, which: str) -> np.ndarray:
    """Cosines of the parts of the vectors without biases, member by member."""
    members = model.model.config.n_members
    vectors = getattr(model, which).vectors.astype(np.float64)
    latent = vectors.reshape(len(vectors), members, -1)[:, :, :-2].reshape(len(vectors), -1)
    return latent @ latent.T / np.outer(*[np.linalg.norm(latent, axis=1)] * 2)


def test_similar_users_are_those_of_a_brute_force(model: Recommender) -> None:
    table = model.similar_users([1003, 1000], 5)
    assert table.columns == ["user_id", "similar_user_id", "rank", "score"]
    near = cosines(model, "users")
    for at, user in enumerate((3, 0)):
        part = table[at * 5 : (at + 1) * 5]
        best = sorted(set(range(N_USERS)) - {user}, key=lambda u: -near[user, u])[:5]
        assert part["similar_user_id"].to_list() == [u + 1000 for u in best]
        npt.assert_allclose(part["score"], near[user, best], rtol=1e-4)


def test_users_similar_to_someone_new(model: Recommender) -> None:
    own = data().interactions.filter(pl.col("user_id") == 1003)
    query = tt.Query(history=own["item_id"], labels=own["y"])
    found = model.similar_users(query, 5)
    assert found.columns == ["query", "similar_user_id", "rank", "score"]
    assert 1003 in found["similar_user_id"].to_list()  # who has the same items
    assert model.similar_users(query, N_USERS).height == N_USERS


def test_users_for_an_item_are_those_of_a_brute_force(model: Recommender) -> None:
    scores = scores_of(model)
    for exclude_seen in (True, False):
        table = model.users_for([507, 500, COLD_ITEM], 6, exclude_seen=exclude_seen)
        assert table.columns == ["item_id", "user_id", "rank", "score"]
        for item in (507, 500, COLD_ITEM):
            part = table.filter(pl.col("item_id") == item)
            had = {u for u in range(N_USERS) if exclude_seen and item in seen_by(u + 1000)}
            best = sorted(set(range(N_USERS)) - had, key=lambda u: -scores[u, item - 500])[:6]
            assert part["user_id"].to_list() == [u + 1000 for u in best]
            npt.assert_allclose(part["score"], scores[best, item - 500], rtol=1e-4, atol=1e-6)


def test_the_same_score_from_both_sides(model: Recommender) -> None:
    pairs = model.users_for(model.item_ids, N_USERS).select("user_id", "item_id", "score")
    lists = model.recommend(model.user_ids, N_ITEMS).select("user_id", "item_id", "score")
    assert pairs.height == lists.height == N_USERS * N_ITEMS - data().interactions.height
    both = pairs.join(lists, on=["user_id", "item_id"], suffix="_list")
    assert both.height == lists.height
    npt.assert_allclose(both["score"], both["score_list"], rtol=1e-5, atol=1e-6)


def test_a_new_item_by_features(model: Recommender) -> None:
    table = pl.DataFrame({"kind": ["k1", "k2"], "title": ["new", "newer"]})
    vectors = model.encode_items(table)
    unit = model.directions(vectors).astype(np.float64)
    known = model.directions(model.items.vectors).astype(np.float64)
    found = model.similar_items(table, N_ITEMS)
    assert found.columns == ["query", "similar_item_id", "rank", "score", "title"]
    for place in range(2):
        part = found.filter(pl.col("query") == place)
        assert part.height == N_ITEMS
        rows = part["similar_item_id"].to_numpy() - 500
        npt.assert_allclose(part["score"], unit[place] @ known[rows].T, atol=1e-5)
        assert part["score"].is_sorted(descending=True)
    assert model.similar_items(table.to_pandas(), N_ITEMS).equals(found)
    assert model.similar_items(table.to_dicts(), N_ITEMS).equals(found)
    one = model.similar_items({"kind": "k1"}, 4)
    assert one.equals(found.filter(pl.col("query") == 0).head(4))
    named = model.similar_items(table.with_columns(item_id=pl.Series([900, 901])), N_ITEMS)
    assert named["item_id"].unique().sort().to_list() == [900, 901]
    assert model.similar_items({"item_id": "x", "kind": "k1"}, 1)["item_id"].to_list() == ["x"]
    told = model.users_for({"kind": "k1"}, 3)
    assert told.columns == ["query", "user_id", "rank", "score"]
    expected = model.users.vectors @ vectors[0]
    assert told["user_id"].to_list() == (np.argsort(-expected)[:3] + 1000).tolist()


def test_a_repeated_item_is_answered_once(model: Recommender) -> None:
    repeated, once = [507, 500, "507", 500.0], [507, 500]
    assert model.users_for(repeated, 3).equals(model.users_for(once, 3))
    assert model.users_for(repeated, 3)["item_id"].to_list() == [507] * 3 + [500] * 3
    assert model.similar_items(repeated, 3).equals(model.similar_items(once, 3))
    assert model.explain(1003, repeated).equals(model.explain(1003, once))
    assert model.explain(1003, repeated).height == 2 * len(seen_by(1003))


def test_what_may_be_similar(model: Recommender) -> None:
    found = model.similar_items([507], 10, allow=[500, 501, 507, 509], deny=[501])
    assert set(found["similar_item_id"]) == {500, 509}
    found = model.similar_users([1003], 10, allow=[1000, 1001, 1003], deny=[1001])
    assert set(found["similar_user_id"]) == {1000}
    found = model.users_for([507], 10, allow=[1000, 1001], exclude_seen=False)
    assert set(found["user_id"]) == {1000, 1001}
    with pytest.warns(TwoTowerWarning, match="1 of the 2 users of allow are not known") as caught:
        model.users_for([507], 10, allow=[1000, 5])
    assert caught[0].filename == __file__
    with pytest.raises(DataError, match="unknown user 5"):
        model.users_for([507], 10, allow=[1000, 5], strict=True)
    with pytest.raises(DataError, match="unknown item 5"):
        model.similar_items([507], 10, allow=[500, 5], strict=True)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m: m.users_for([], 3), ConfigError, "at least one item, got none"),
        (lambda m: m.users_for(9999, 3), DataError, "unknown item 9999"),
        (lambda m: m.users_for(507, 0), ConfigError, "k must be at least 1, got 0"),
        (lambda m: m.users_for(507, exclude_seen="no"), ConfigError, "exclude_seen must be True or False"),
        (lambda m: m.similar_users(7), DataError, "unknown user 7"),
        (lambda m: m.similar_users(1003, 1.5), ConfigError, "a whole number, at least 1, got 1.5"),
        (lambda m: m.similar_items([500, {"kind": "k1"}]), ConfigError, "both in one list, so ask twice"),
        (lambda m: m.similar_items({"knd": "k1"}), DataError, "Did you mean 'kind'"),
        (lambda m: m.similar_items(pl.DataFrame({"kind": []})), DataError, "at least one row"),
        (lambda m: m.item_vectors([9999]), DataError, "unknown item 9999"),
    ],
)
def test_what_is_refused(model: Recommender, call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(model)


def test_features_that_are_left_out_are_counted_and_said(recwarn: pytest.WarningsRecorder) -> None:
    items = pl.DataFrame({"item_id": range(6), "title": list("abcabc"), "year": [1.0, 2, 3, 4, 5, 6]})
    users = pl.DataFrame({"user_id": range(4), "age": [10.0, 20, 30, 40], "from": list("xyxy")})
    events = pl.DataFrame({"user_id": [0, 0, 1, 1, 2, 2, 3, 3], "item_id": [0, 1, 2, 3, 4, 5, 0, 3]})
    schema = {"items": {"title": "text", "year": "number"}, "users": {"age": "number", "from": "category"}}
    made = tt.TwoTower(dim=4, epochs=1).fit(tt.Dataset.of(events, users, items, schema=schema).as_train())

    def said(call: Any) -> list[str]:
        recwarn.clear()
        call()
        return [str(one.message) for one in recwarn if issubclass(one.category, TwoTowerWarning)]

    full, part = {"title": "a", "year": 3}, {"year": 3}
    for call in (
        lambda: made.similar_items(part, 3),
        lambda: made.users_for(part, 3),
        lambda: made.encode_items(pl.DataFrame([part])),
    ):
        (message,) = said(call)
        assert message.startswith("1 new item lacks 1 feature of the 2 that the model uses: title; "), message
    (message,) = said(lambda: made.similar_items([full, part, part, {"title": "b"}], 3))
    assert message.startswith(
        "3 new items lack 2 features of the 2 that the model uses: title (2), year (1); "
    )
    (message,) = said(lambda: made.recommend(tt.Query(features={"from": "x"}), 3))
    assert message.startswith("1 new user lacks 1 feature of the 2 that the model uses: age; ")
    assert not said(lambda: made.similar_items([full, full], 3))
    assert not said(lambda: made.recommend(tt.Query(features={"age": None, "from": "x"}), 3))
    assert not said(lambda: made.recommend(tt.Query(features={}), 3))  # of whom nothing is known
    assert not said(lambda: made.similar_items(5, 3))


@pytest.mark.parametrize("objective", ["all_pairs", "squared"])
def test_dot_products_of_vectors_are_scores(objective: str) -> None:
    settings = {**SETTINGS, "objective": objective, "dim": 12, "epochs": 2}
    made = tt.TwoTower(**settings).fit(data())
    users, items = made.user_vectors(), made.item_vectors()
    assert users.schema == {"user_id": pl.Int64, "vector": pl.Array(pl.Float32, 12)}
    assert items.columns == ["item_id", "vector"]
    assert users["user_id"].equals(made.user_ids)
    pairs = users.select("user_id").join(items.select("item_id"), how="cross")
    dots = users["vector"].to_numpy().astype(np.float64) @ items["vector"].to_numpy().astype(np.float64).T
    scores = made.score(pairs)[:, -1].to_numpy()
    npt.assert_allclose(dots.reshape(-1), scores, rtol=2e-5, atol=2e-6)
    some = made.item_vectors([507, 500])
    assert some["item_id"].to_list() == [507, 500]
    npt.assert_array_equal(some["vector"].to_numpy(), items["vector"].to_numpy()[[7, 0]])
    assert len(made.user_vectors([])) == 0


def test_filters_on_display_columns() -> None:
    table = data()
    schema = table.schema.model_copy(update={"display": ("title", "kind", "seconds")})
    made = tt.TwoTower(dim=8, threads=1, epochs=2).fit(
        tt.Dataset.of(table.interactions, table.users, table.items, schema=schema).as_train()
    )
    allowed = {i + 500 for i in range(N_ITEMS) if i % 3 == 1 and i != 7 and 6.0 <= 5.0 + i % 6 <= 9.0}
    how: dict[str, Any] = {"filters": {"kind": np.str_("k1"), "seconds": {"min": 6, "max": np.float32(9)}}}
    assert set(made.recommend(1003, N_ITEMS, exclude_seen=False, **how)["item_id"]) == allowed
    everyone = pl.concat(made.recommend_all(N_ITEMS, exclude_seen=False, **how))
    assert set(everyone["item_id"]) == allowed
    assert set(made.recommend(1003, 9, exclude_seen=False, allow=[501, 502, 519], **how)["item_id"]) == {
        i for i in (501, 519) if i in allowed
    }
    for nothing in ({"kind": "none such"}, {"kind": []}, {"seconds": "6"}, {"seconds": {"min": 9, "max": 6}}):
        with pytest.warns(TwoTowerWarning, match="1 of 1 list got no item.*filtered"):
            assert made.recommend(1003, filters=nothing).height == 0
    assert made.recommend(1003, 3, filters={}).height == 3
    for filters, message in (
        ({"knd": "k1"}, "there is no 'knd'. Did you mean 'kind'. Columns: title, kind, seconds"),
        ({"kind": {"min": 3}}, "a range needs a column of numbers; 'kind' holds String"),
        ({"seconds": {"least": 3}}, r"for 'seconds' got \{'least': 3\}"),
        ({"seconds": {"min": "3"}}, r"for 'seconds' got \{'min': '3'\}"),
        ({"kind": None}, "for 'kind' got None"),
        ({"kind": [["k1"]]}, r"for 'kind' got \[\['k1'\]\]"),
    ):
        with pytest.raises(DataError, match=message):
            made.recommend(1003, filters=filters)
