"""`Recommender` against a brute force in NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import polars as pl
import pytest

from twotower.core.lists import Lists
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.evaluation import evaluate_ranking
from twotower.evaluation.ranker import RankRequest
from twotower.recommender import Recommender
from twotower.recommender import recommender as module
from twotower.recommender.display import as_plain
from twotower.recommender.query import Query

N_USERS, N_ITEMS = 25, 30
COLD_USER, COLD_ITEM = 1024, 529
SETTINGS: dict[str, Any] = {
    "objective": "squared",
    "dim": 6,
    "kind": "mlp",
    "hidden": (6,),
    "batch_size": 200,
    "threads": 1,
    "epochs": 3,
    "learning_rate": 0.05,
}


def data(*, transform: str = "none", seed: int = 0) -> TrainPart:
    """Users 1000.. and items 500..; the last of each has features but no interaction."""
    rng = np.random.default_rng(seed)
    cell = rng.choice((N_USERS - 1) * (N_ITEMS - 1), 260, replace=False)
    user, item = cell // (N_ITEMS - 1), cell % (N_ITEMS - 1)
    events = pl.DataFrame(
        {"user_id": user + 1000, "item_id": item + 500, "y": rng.gamma(2.0, 1.0 + (user % 4) + (item % 3))}
    )
    users = pl.DataFrame({"user_id": np.arange(N_USERS) + 1000, "group": np.arange(N_USERS) % 4})
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS) + 500,
            "kind": [f"k{i % 3}" for i in range(N_ITEMS)],
            "seconds": [None if i == 7 else 5.0 + i % 6 for i in range(N_ITEMS)],
            "title": [None if i == 4 else f"电影 {i}" for i in range(N_ITEMS)],
        }
    )
    schema = {
        "label": "y",
        "duration": "seconds",
        "users": {"group": "category"},
        "items": {"kind": "category"},
        "display": ["title"],
    }
    return Dataset.of(events, users, items, schema=schema).as_train()


@pytest.fixture(scope="module")
def model() -> Recommender:
    return TwoTower(**SETTINGS).fit(data())


@pytest.fixture(scope="module")
def ranked() -> Recommender:
    return TwoTower(**SETTINGS, transform="duration_rank").fit(data())


def scores_of(model: Recommender) -> np.ndarray:
    """Every user's score of every item, by their ids: (users, items)."""
    return model.users.vectors.astype(np.float64) @ model.items.vectors.astype(np.float64).T


def seen_by(user: int) -> set[int]:
    events = data().interactions
    return set(events.filter(pl.col("user_id") == user)["item_id"].to_list())


# recommend


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 5, N_ITEMS])
def test_recommendations_are_those_of_a_brute_force(model: Recommender, k: int, exclude_seen: bool) -> None:
    asked = [1003, 1000, COLD_USER, 1017]
    table = model.recommend(asked, k, exclude_seen=exclude_seen)
    assert table.columns == ["user_id", "item_id", "rank", "score", "title"]
    scores, at = scores_of(model), 0
    for user in asked:
        own = scores[user - 1000]
        barred = seen_by(user) if exclude_seen else set()
        best = sorted((i for i in range(N_ITEMS) if i + 500 not in barred), key=lambda i: -own[i])[:k]
        part = table[at : at + len(best)]
        at += len(best)
        assert part["user_id"].to_list() == [user] * len(best)
        assert part["item_id"].to_list() == [i + 500 for i in best]
        assert part["rank"].to_list() == list(range(1, len(best) + 1))
        npt.assert_allclose(part["score"].to_numpy(), own[best], rtol=1e-4, atol=1e-5)
        assert part["title"].to_list() == [None if i == 4 else f"电影 {i}" for i in best]
    assert at == table.height


def test_nothing_seen_is_recommended(model: Recommender) -> None:
    everyone = model.recommend(model.user_ids, N_ITEMS)
    pairs = set(everyone.select("user_id", "item_id").rows())
    seen = set(data().interactions.select("user_id", "item_id").rows())
    assert pairs.isdisjoint(seen)
    assert len(pairs) + len(seen) == N_USERS * N_ITEMS


def test_a_cold_item_can_be_recommended(model: Recommender) -> None:
    assert COLD_ITEM in model.recommend([1000], N_ITEMS)["item_id"].to_list()
    assert not model.items.warm[COLD_ITEM - 500]
    assert model.items.warm.sum() == N_ITEMS - 1


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        pl.Series,
        lambda u: pl.Series(u, dtype=pl.Int16),
        pd.Series,
        lambda u: [str(i) for i in u],
    ],
)
def test_users_may_come_in_any_form(model: Recommender, form: Callable[[list[int]], Any]) -> None:
    users = form([1003, 1000])
    assert model.recommend(users, 3).equals(model.recommend([1003, 1000], 3))


def test_ids_of_several_types_in_one_call_are_each_found(model: Recommender) -> None:
    users, items = [1003.0, "1007", 1001], [503.0, "504", 502]
    plain = [1003, 1007, 1001], [503, 504, 502]
    assert model.recommend(users, 4).equals(model.recommend(plain[0], 4))
    for name in ("allow", "deny"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", TwoTowerWarning)
            found = model.recommend(1003, 9, exclude_seen=False, **{name: items})
        assert found.equals(model.recommend(1003, 9, exclude_seen=False, **{name: plain[1]}))
    assert model.similar_items(items, 3).equals(model.similar_items(plain[1], 3))
    assert model.explain(1003, items).equals(model.explain(1003, plain[1]))
    queries = [Query(history=[one]) for one in items] + [Query(user=one) for one in users]
    apart = np.concatenate([model.encode_queries(one) for one in queries])
    npt.assert_array_equal(model.encode_queries(queries), apart)
    pairs = {"user_id": pl.Series(users, dtype=pl.Object), "item_id": pl.Series(items, dtype=pl.Object)}
    known = pl.DataFrame({"user_id": plain[0], "item_id": plain[1]})
    assert model.score(pl.DataFrame(pairs))["prediction"].equals(model.score(known)["prediction"])


def test_a_user_alone_gets_what_it_gets_among_others(model: Recommender) -> None:
    everyone = model.recommend(model.user_ids, 4)
    for user in (1000, 1011, COLD_USER):
        assert model.recommend([user], 4).equals(everyone.filter(pl.col("user_id") == user))


@pytest.mark.parametrize("k", [0, -1])
def test_k_out_of_range(model: Recommender, k: Any) -> None:
    with pytest.raises(ConfigError, match=f"k must be at least 1, got {k}"):
        model.recommend([1000], k)


def test_a_k_past_the_catalogue_is_cut_and_said(model: Recommender) -> None:
    with pytest.warns(
        TwoTowerWarning, match="k = 31 is more than the catalogue's 30 items; lists have at most 30"
    ):
        found = model.recommend(1000, N_ITEMS + 1)
    assert found.equals(model.recommend([1000], np.int64(N_ITEMS)))


def test_a_model_that_predicts_says_once_that_it_does_not_rank() -> None:
    made = TwoTower(**{**SETTINGS, "epochs": 1}).fit(data())
    with pytest.warns(TwoTowerWarning, match=r"trained to predict the label.*objective\.name = 'all_pairs'"):
        made.recommend(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.recommend(1000)
        made.recommend(Query(history=500))
        ranks = TwoTower(**{**SETTINGS, "objective": "all_pairs", "epochs": 1}).fit(data())
        ranks.recommend(1000)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([1000, 7], "unknown user 7"),
        ([1000, None], "unknown user None"),
        (["Anna"], "unknown user 'Anna'"),
        ([2**40], f"unknown user {2**40}"),
        (["100"], r"unknown user '100': .*Did you mean '10\d\d'"),
    ],
)
def test_an_unknown_user(model: Recommender, users: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.recommend(users, 3)


def test_no_users(model: Recommender) -> None:
    with pytest.raises(ConfigError, match="at least one user"):
        model.recommend([], 3)


def test_recommending_for_all_is_recommending_block_by_block(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USERS_AT_ONCE", 10)
    for exclude_seen in (True, False):
        blocks = list(model.recommend_all(4, exclude_seen=exclude_seen))
        assert [block["user_id"].n_unique() for block in blocks] == [10, 10, 5]
        assert pl.concat(blocks).equals(model.recommend(model.user_ids, 4, exclude_seen=exclude_seen))


def test_display_columns_do_not_hide_the_answer() -> None:
    train = data()
    items = train.items.with_columns(score=pl.lit("A+"), rank=pl.lit(9), day=pl.date(2020, 1, 2))
    schema = train.schema.model_copy(update={"display": ("score", "rank", "item_id", "day")})
    model = TwoTower(**SETTINGS).fit(
        Dataset.of(train.interactions, train.users, items, schema=schema).as_train()
    )
    table = model.recommend([1000], 2)
    assert table.columns == ["user_id", "item_id", "rank", "score", "item_score", "item_rank", "day"]
    assert table["rank"].to_list() == [1, 2]
    assert table["item_rank"].to_list() == [9, 9]
    assert table["day"].to_list() == ["2020-01-02"] * 2


def test_a_catalogue_without_display_columns() -> None:
    events = data().interactions
    model = TwoTower(**SETTINGS).fit(Dataset.of(events, schema={"label": "y"}).as_train())
    assert model.recommend([1000], 2).columns == ["user_id", "item_id", "rank", "score"]


def test_columns_that_json_lacks_become_text() -> None:
    table = pl.DataFrame({"a": [1, None], "b": [[1.5], None], "c": [None, None], "d": ["x", None]})
    dates = pl.Series("e", ["2020-01-01", None]).str.to_date()
    found = as_plain(table.with_columns(dates, pl.col("d").cast(pl.Categorical).alias("f")))
    assert found.schema == {
        "a": pl.Int64,
        "b": pl.List(pl.Float64),
        "c": pl.String,
        "d": pl.String,
        "e": pl.String,
        "f": pl.String,
    }
    assert found.row(0) == (1, [1.5], None, "x", "2020-01-01", "x")
    assert found.row(1) == (None,) * 6


# similar


def test_similar_items_are_those_of_a_brute_force() -> None:
    members = 2
    made = TwoTower(**{**SETTINGS, "dim": 12, "kind": "mlp", "hidden": (6,)}, ensemble_size=members).fit(
        data()
    )
    table = made.similar_items([507, COLD_ITEM, 500], 6)
    assert table.columns == ["item_id", "similar_item_id", "rank", "score", "title"]
    width = 12 // members
    latent = np.concatenate(
        [made.items.vectors[:, m * width : (m + 1) * width - 2] for m in range(members)], axis=1
    ).astype(np.float64)
    cosine = latent @ latent.T / np.outer(*[np.linalg.norm(latent, axis=1)] * 2)
    for at, item in enumerate((7, COLD_ITEM - 500, 0)):
        part = table[at * 6 : (at + 1) * 6]
        best = sorted(set(range(N_ITEMS)) - {item}, key=lambda i: -cosine[item, i])[:6]
        assert part["item_id"].to_list() == [item + 500] * 6
        assert part["similar_item_id"].to_list() == [i + 500 for i in best]
        assert part["rank"].to_list() == [1, 2, 3, 4, 5, 6]
        npt.assert_allclose(part["score"].to_numpy(), cosine[item, best], rtol=1e-4)
        assert part["title"].to_list() == [None if i == 4 else f"电影 {i}" for i in best]


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_similar_refuses_a_k_that_cannot_be(model: Recommender, k: Any) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {k!r}"):
        model.similar_items([500], k)


def test_similar_cuts_a_k_past_the_other_items(model: Recommender) -> None:
    with pytest.warns(
        TwoTowerWarning, match=f"k = {N_ITEMS} is more than the catalogue's {N_ITEMS - 1} other"
    ):
        found = model.similar_items(500, N_ITEMS)
    assert found.equals(model.similar_items([500], N_ITEMS - 1))


def test_similar_to_what_is_not_known(model: Recommender) -> None:
    with pytest.raises(DataError, match="unknown item 9999"):
        model.similar_items([9999])
    with pytest.raises(ConfigError, match="at least one item"):
        model.similar_items([])


# rank


def test_ranking_is_that_of_a_brute_force_new_users_and_items_too(model: Recommender) -> None:
    tables = data()
    new_user = pl.DataFrame({"user_id": [7], "group": [2]}, schema=tables.users.schema)
    new_item = pl.DataFrame(
        {"item_id": [8], "kind": ["k1"], "seconds": [6.0], "title": ["new"]}, schema=tables.items.schema
    )
    known = Dataset.of(
        tables.interactions,
        pl.concat([tables.users, new_user]),
        pl.concat([tables.items, new_item]),
        schema=tables.schema,
    )
    users, items = pl.Series([1003, 7, COLD_USER]), pl.Series([8, *range(500, 500 + N_ITEMS)])
    barred = Lists.from_groups([[1, 4], [], [0]])
    got = model.rank(RankRequest(users, items, barred, known), 40)
    # predictions are clipped to the labels' range, so scores are taken from the vectors
    row, U = model.query_encoder.placed("users", users, known)
    place, V = model.query_encoder.placed("items", items, known)
    scores = U[row].astype(np.float64) @ V[place].astype(np.float64).T
    for u in range(len(users)):
        out = set(barred[u].tolist())
        best = sorted(set(range(len(items))) - out, key=lambda i: -scores[u, i])
        assert got[u].tolist() == best + [-1] * (40 - len(best))


def test_a_recommender_is_measured_by_full_ranking(model: Recommender) -> None:
    """One held-out positive for a user: its place in the list is what recall says."""
    top = model.recommend([1005], 2)["item_id"].to_list()
    tables = data()
    held_out = tables.with_interactions(
        pl.DataFrame({"user_id": [1005], "item_id": [top[1]], "y": [1.0]}, schema=tables.interactions.schema)
    )
    found = evaluate_ranking(model, held_out, model.train_view(held_out), ks=(1, 2)).metrics
    assert (found["recall@1"].value, found["recall@2"].value, found["mrr@2"].value) == (0.0, 1.0, 0.5)


# score and predict


def test_predictions_are_dot_products_in_the_label_s_range(model: Recommender) -> None:
    train = data()
    user, item = (train.interactions[c].to_numpy() for c in ("user_id", "item_id"))
    expected = scores_of(model)[user - 1000, item - 500]
    y = train.interactions["y"].to_numpy()
    npt.assert_allclose(model.predict(train), np.clip(expected, y.min(), y.max()), rtol=1e-4)


@pytest.mark.parametrize("which", ["model", "ranked"])
def test_score_adds_what_predict_gives(which: str, request: pytest.FixtureRequest) -> None:
    model: Recommender = request.getfixturevalue(which)
    train = data()
    pairs = train.interactions.reverse().with_columns(extra=pl.lit("kept"))
    scored = model.score(pairs)
    assert scored.columns == [*pairs.columns, "prediction"]
    assert scored.drop("prediction").equals(pairs)
    npt.assert_array_equal(scored["prediction"], model.predict(train.with_interactions(pairs)))
    assert scored["prediction"].n_unique() > 50


def test_a_pair_s_own_duration_comes_first(ranked: Recommender) -> None:
    pairs = pl.DataFrame({"user_id": [1000, 1000], "item_id": [503, 503], "seconds": [5.0, 10.0]})
    own = ranked.score(pairs)["prediction"].to_list()
    assert own[0] != own[1]
    items = ranked.score(pairs.drop("seconds"))["prediction"].to_list()
    assert items[0] == items[1]
    at = ranked.score(pairs.with_columns(seconds=pl.lit(5.0 + 3)))["prediction"].to_list()
    assert items == at


def test_a_duration_that_is_nowhere() -> None:
    train = data()
    events = train.interactions.with_columns(seconds=pl.col("item_id") % 7 + 5.0)
    part = Dataset.of(events, train.users, train.items.drop("seconds"), schema=train.schema).as_train()
    model = TwoTower(**SETTINGS, transform="duration_rank").fit(part)
    with pytest.raises(DataError, match="pairs need the column 'seconds'"):
        model.score(pl.DataFrame({"user_id": [1000], "item_id": [503]}))
    assert model.score(events)["prediction"].is_finite().all()


def test_score_takes_pandas(model: Recommender) -> None:
    pairs = pd.DataFrame({"user_id": [1000, 1001], "item_id": [500, 501]})
    assert model.score(pairs).equals(model.score(pl.from_pandas(pairs)))


def test_score_of_no_pairs(model: Recommender) -> None:
    none = pl.DataFrame({"user_id": [], "item_id": []}, schema={"user_id": pl.Int64, "item_id": pl.Int64})
    scored = model.score(none)
    assert scored.height == 0
    assert scored["prediction"].dtype == pl.Float64


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            {"user_id": [1000], "item": [500]},
            "pairs need a column 'item_id'; got user_id, item. Did you mean",
        ),
        (
            {"user_id": [1], "item_id": [500]},
            "unknown user 1: it has no interaction in the training set and no row in the users",
        ),
        (
            {"user_id": [1000], "item_id": [1]},
            "unknown item 1: it has no interaction in the training set and no row in the items",
        ),
        (
            {"user_id": [1000], "item_id": [500], "prediction": [3.0]},
            "must not have a column 'prediction'",
        ),
    ],
)
def test_pairs_that_cannot_be_scored(model: Recommender, pairs: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.score(pl.DataFrame(pairs), strict=True)


def test_pairs_of_nobody_known_have_no_value_and_are_counted(model: Recommender) -> None:
    pairs = pl.DataFrame({"user_id": [1000, 1, None, 1001], "item_id": [500, 500, 1, 1], "n": [1, 2, 3, 4]})
    with pytest.warns(
        TwoTowerWarning, match="3 of 4 pairs have no prediction: the user of 2 and the item of 2"
    ):
        scored = model.score(pairs)
    assert scored.drop("prediction").equals(pairs)
    whole = model.score(pairs.head(1))["prediction"].item()
    assert scored["prediction"].to_list() == [whole, None, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(pairs.clear())["prediction"].dtype == pl.Float64


def new_rows(users: list[int], items: list[int], *, tables: bool = True) -> Dataset:
    """Pairs of ids that the model does not know; with features, or in no table at all."""
    train = data()
    events = pl.DataFrame({"user_id": users, "item_id": items, "y": [0.0] * len(users)})
    extra_users = pl.DataFrame({"user_id": [1, 2, 3], "group": [0, 1, 0]})
    extra_items = pl.DataFrame(
        {"item_id": [7, 8], "kind": ["k0", "k1"], "seconds": [8.0, None], "title": ["a", "b"]}
    )
    frames = [train.users, train.items]
    if tables:
        frames = [pl.concat([train.users, extra_users]), pl.concat([train.items, extra_items])]
    return Dataset.of(events, *frames, schema=train.schema)


def test_new_rows_are_predicted_from_their_features(model: Recommender) -> None:
    # COLD_USER is of group 0, COLD_ITEM of kind k2, item 500 of kind k0
    found = model.predict(new_rows([1, 3, 2, COLD_USER], [COLD_ITEM] * 4))
    assert found[0] == found[1] == found[3], "cold rows with the same features are the same"
    assert found[2] != found[0]
    mixed = model.predict(new_rows([1000, 1, 1000, 1], [7, 7, 500, 500]))
    again = model.predict(new_rows([1, 1000], [500, 7]))
    assert mixed[3] == again[0]
    assert mixed[0] == again[1]
    assert mixed[2] == model.score(pl.DataFrame({"user_id": [1000], "item_id": [500]}))["prediction"][0]


@pytest.mark.parametrize("which", ["model", "ranked"])
def test_ids_in_no_table_get_a_finite_prediction(which: str, request: pytest.FixtureRequest) -> None:
    model: Recommender = request.getfixturevalue(which)
    found = model.predict(new_rows([-5, 99, 1000, -5], [-1, 500, 77, -1], tables=False))
    assert np.isfinite(found).all()
    assert found[0] == found[3]


def test_predictions_do_not_look_at_labels(model: Recommender) -> None:
    train = data()
    other = train.with_interactions(train.interactions.with_columns(y=pl.lit(-1e9)))
    npt.assert_array_equal(model.predict(train), model.predict(other))


def test_the_train_view_holds_the_pairs_seen(model: Recommender) -> None:
    pairs = model.train_view(data()).interactions
    columns = ["user_id", "item_id"]
    expected = data().interactions.sort(columns)
    label = expected[data().schema.label]
    assert pairs.sort(columns).select(columns).equals(expected.select(columns))
    npt.assert_allclose(pairs.sort(columns)[label.name], label, rtol=1e-6)


def test_rows_of_ids(model: Recommender) -> None:
    ids = pl.Series([1004, 5, None, 1000])
    assert model.users.rows(ids).tolist() == [4, -1, -1, 0]
    assert model.users.rows(pl.Series(["1004", "x"])).tolist() == [4, -1]
    assert model.users.rows(pl.Series([1004.0, 1004.5, float("nan")])).tolist() == [4, -1, -1]
