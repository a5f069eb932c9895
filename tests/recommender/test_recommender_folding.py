"""Users known by a list of items, new items and users by features, reasons, and filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

import twotower as tt
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.recommender import Recommender
from twotower.recommender.query import Query

N_USERS, N_ITEMS = 200, 24
SETTINGS: dict[str, Any] = {
    "dim": 8,
    "kind": "mlp",
    "hidden": (32,),
    "batch_size": 200,
    "threads": 1,
    "epochs": 40,
    "learning_rate": 0.02,
    "patience": 20,
}
SOLVED: dict[str, Any] = {"objective": "all_pairs", "dim": 8, "threads": 1}
MODELS: dict[str, dict[str, Any]] = {
    "squared": {**SETTINGS, "objective": "squared"},
    "logistic": {**SETTINGS, "objective": "logistic"},
    "all_pairs": SOLVED,
    "all_pairs, layered": {**SETTINGS, "objective": "all_pairs"},
    "softmax": {**SETTINGS, "objective": "softmax", "learning_rate": "auto"},
}


def data(*, labels: bool = True) -> TrainPart:
    """Two tastes: users of even number like items of even number, the others the others."""
    rng = np.random.default_rng(0)
    user, item = (x.reshape(-1) for x in np.mgrid[:N_USERS, :N_ITEMS])
    alike = (user % 2) == (item % 2)
    shown = rng.random(len(user)) < np.where(alike, 0.6, 0.4 if labels else 0.0)
    events = pl.DataFrame({"user_id": user[shown], "item_id": item[shown]})
    schema: dict[str, Any] = {"items": {"kind": "category"}, "users": {"age": "number"}}
    if labels:
        events = events.with_columns(y=pl.Series(np.where(alike, 0.9, 0.1)[shown]))
        schema["label"] = "y"
    users = pl.DataFrame({"user_id": np.arange(N_USERS), "age": rng.normal(size=N_USERS)})
    items = pl.DataFrame({"item_id": np.arange(N_ITEMS), "kind": [f"k{i % 2}" for i in range(N_ITEMS)]})
    return Dataset.of(events, users, items, schema=schema).as_train()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Recommender:
    return TwoTower(positive=0.5, **MODELS[request.param]).fit(data())


@pytest.fixture(scope="module")
def one() -> Recommender:
    return TwoTower(**SOLVED).fit(data())


def queries(lists: list[list[int]], labels: list[list[float]] | None = None) -> list[Query]:
    """Return a query for each list of items, with labels if there are any."""
    return [
        Query(history=items, labels=None if labels is None else labels[at]) for at, items in enumerate(lists)
    ]


def drawn_lists(n: int) -> tuple[list[list[int]], np.ndarray]:
    """Lists of three even or three odd items, and which they are."""
    rng = np.random.default_rng(1)
    parity = np.arange(n) % 2
    return [(rng.choice(N_ITEMS // 2, 3, replace=False) * 2 + p).tolist() for p in parity], parity


def test_who_likes_even_items_is_given_even_items(model: Recommender) -> None:
    lists, parity = drawn_lists(40)
    found = model.recommend(queries(lists), 6)
    assert found.columns == ["query", "item_id", "rank", "score"]
    assert np.mean(found["item_id"].to_numpy() % 2 == parity[found["query"].to_numpy()]) > 0.75
    for place, items in enumerate(lists):
        assert not set(found.filter(pl.col("query") == place)["item_id"]) & set(items)


def test_labels_say_what_was_not_liked(model: Recommender) -> None:
    """The same lists, once liked and once not: then there is less of the like."""
    lists, parity = drawn_lists(40)
    shares, scores = [], []
    for label in (0.9, 0.1):
        found = model.recommend(queries(lists, [[label] * 3] * 40), 6)
        shares.append(np.mean(found["item_id"].to_numpy() % 2 == parity[found["query"].to_numpy()]))
        scores.append(found["score"].mean())
    assert shares[0] > 0.75
    assert scores[1] < scores[0]
    if not model.objective.implicit:  # what was watched and not liked still says what sort is watched
        assert shares[1] < shares[0] - 0.1


def test_lists_alone_or_together(one: Recommender) -> None:
    both = one.encode_queries(queries([[0, 2], [], [5]]))
    assert both.shape == (3, 8)
    assert both.dtype == np.float32
    npt.assert_array_equal(both[2], one.encode_queries(Query(history=[5]))[0])
    npt.assert_array_equal(both[1], one.folding.typical)


def test_reasons_add_up_and_name_what_was_liked(model: Recommender) -> None:
    user = 4
    found = model.recommend([user], 3)
    table = model.explain(user, found["item_id"])
    assert table.columns == ["item_id", "because_item_id", "contribution", "base", "score"]
    own = data().interactions.filter(pl.col("user_id") == user)["item_id"]
    for item, score in found.select("item_id", "score").iter_rows():
        part = table.filter(pl.col("item_id") == item)
        assert sorted(part["because_item_id"]) == sorted(own)
        assert part["contribution"].is_sorted(descending=True)
        npt.assert_allclose(part["base"][0] + part["contribution"].sum(), score, atol=1e-4)
        assert part["because_item_id"][0] % 2 == item % 2


def test_reasons_for_a_list(one: Recommender) -> None:
    found = one.recommend(Query(history=[0, 2, 4]), 2)
    table = one.explain(Query(history=[0, 2, 4]), found["item_id"])
    sums = table.group_by("item_id", maintain_order=True).agg(
        pl.col("contribution").sum() + pl.col("base").first()
    )
    npt.assert_allclose(sums["contribution"], found["score"], atol=1e-4)
    assert table.filter(pl.col("contribution") > 0).height >= 4


def test_what_a_user_has_twice_is_one_reason(one: Recommender) -> None:
    query = Query(history=[0, 2, 0, 4, 0])
    found = one.recommend(query, 2)
    table = one.explain(query, found["item_id"])
    for item, score in found.select("item_id", "score").iter_rows():
        part = table.filter(pl.col("item_id") == item)
        assert sorted(part["because_item_id"]) == [0, 2, 4]
        assert part["contribution"].is_sorted(descending=True)
        npt.assert_allclose(part["base"][0] + part["contribution"].sum(), score, atol=1e-4)


def test_a_saved_recommender_folds_in_and_explains_alike(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle")
    lists, labels = [[0, 2], [5]], [[0.9, 0.4], [0.1]]
    npt.assert_array_equal(again.encode_queries(queries(lists)), model.encode_queries(queries(lists)))
    labelled = queries(lists, labels)
    npt.assert_array_equal(again.encode_queries(labelled), model.encode_queries(labelled))
    assert again.explain(3, [0, 1]).equals(model.explain(3, [0, 1]))
    assert again.objective == model.objective


def test_only_what_is_allowed_and_not_denied(one: Recommender) -> None:
    found = one.recommend([4, 5], N_ITEMS, exclude_seen=False, allow=[3, 8, 11, 2], deny=[8, 9])
    for user in (4, 5):
        assert set(found.filter(pl.col("user_id") == user)["item_id"]) == {3, 11, 2}
    assert set(one.recommend(Query(history=[3]), 4, allow=[3, 8])["item_id"]) == {8}


def test_values_that_training_lacks_are_said(recwarn: pytest.WarningsRecorder) -> None:
    train = data()
    tags = [["a", "b"] if i % 2 else ["a"] for i in range(N_ITEMS - 1)] + [["a", "once"]]
    items = train.items.with_columns(tags=pl.Series(tags))
    users = train.users.with_columns(group=pl.col("user_id") % 3)
    schema = {
        "label": "y",
        "users": {"group": "category"},
        "items": {"kind": "category", "tags": "categories"},
    }
    made = TwoTower(**SOLVED).fit(Dataset.of(train.interactions, users, items, schema=schema).as_train())

    def said(call: Any) -> list[str]:
        recwarn.clear()
        call()
        return [str(one.message) for one in recwarn if issubclass(one.category, TwoTowerWarning)]

    known, typo = {"kind": "k0", "tags": ["a", "b"]}, {"kind": "k 0", "tags": ["a"]}
    for call in (
        lambda: made.similar_items(typo),
        lambda: made.users_for([known, typo]),
        lambda: made.encode_items(pl.DataFrame([known, typo])),
    ):
        (message,) = said(call)
        assert message.startswith("1 value of new items is not known to the model"), message
        assert "kind (1, such as 'k 0'); " in message
    (message,) = said(
        lambda: made.similar_items([{"kind": "x", "tags": ["a", "once"]}, {**known, "kind": "y"}])
    )
    assert message.startswith("3 values of new items are not known to the model")
    assert "kind (2, such as 'x'), tags (1, such as ['a', 'once']); " in message
    (message,) = said(lambda: made.recommend([Query(features={"group": 1}), Query(features={"group": "x"})]))
    assert "1 value of new users" in message
    assert "group (1, such as 'x')" in message
    assert not said(lambda: made.recommend(Query(features={"group": None})))
    assert not said(lambda: made.similar_items({"kind": None, "tags": []}))
    assert not said(lambda: made.predict(Dataset.of(train.interactions, users, items, schema=schema)))


def test_denying_everything_gives_an_empty_list(one: Recommender) -> None:
    with pytest.warns(TwoTowerWarning, match="2 of 2 lists got no item: none is left") as caught:
        assert one.recommend([4, 5], 3, deny=list(range(N_ITEMS))).height == 0
    assert caught[0].filename == __file__


def test_who_has_seen_everything_gets_an_empty_list() -> None:
    events = data().interactions.with_columns(pl.lit(0.5).alias("y"))
    everything = pl.DataFrame({"user_id": [99] * N_ITEMS, "item_id": range(N_ITEMS), "y": [0.5] * N_ITEMS})
    events = pl.concat([events, everything.cast(events.schema)])  # type: ignore[arg-type]
    train = Dataset.of(events, schema={"label": "y"}).as_train()
    model = TwoTower(objective="all_pairs", **{**SETTINGS, "epochs": 1}, refit=True).fit(train)
    with pytest.warns(TwoTowerWarning, match="1 of 2 lists got no item"):
        assert model.recommend([99, 1], 5)["user_id"].unique().to_list() == [1]
    assert model.recommend([0], 5).height == 5


def test_a_new_item_is_as_alike_in_kind(one: Recommender) -> None:
    vectors = one.encode_items(pl.DataFrame({"kind": ["k0", "k1", None]}))
    assert vectors.shape == (3, 8)
    even, odd = one.users.vectors[::2].mean(axis=0), one.users.vectors[1::2].mean(axis=0)
    assert vectors[0] @ even > vectors[1] @ even
    assert vectors[1] @ odd > vectors[0] @ odd
    # the same features without an interaction, by another way
    known = data()
    events = pl.DataFrame({"user_id": [0], "item_id": [777], "y": [0.5]})
    items = pl.DataFrame({"item_id": [777], "kind": ["k1"]})
    cold = Dataset.of(events, known.users, items, schema=known.schema)
    npt.assert_allclose(one.predict(cold), [one.users.vectors[0] @ vectors[1]], rtol=1e-5)


def test_a_feature_that_is_lacking_is_missing(one: Recommender) -> None:
    npt.assert_array_equal(
        one.encode_queries(tt.Queries.of(features=pl.DataFrame({"user_id": [5]}))),
        one.encode_queries(tt.Queries.of(features=pl.DataFrame({"age": [None]}))),
    )


def test_implicit_data_without_labels() -> None:
    model = TwoTower(objective="all_pairs", **SETTINGS).fit(data(labels=False))
    assert model.seen_label is None
    lists, parity = drawn_lists(40)
    found = model.recommend(queries(lists), 6)
    assert np.mean(found["item_id"].to_numpy() % 2 == parity[found["query"].to_numpy()]) > 0.75
    with pytest.raises(DataError, match="trained without labels can't use labels"):
        model.encode_queries(Query(history=[0], labels=[1.0]))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m: m.encode_queries([]), ConfigError, "at least one user"),
        (lambda m: m.encode_queries(Query(history=[0, 999])), DataError, "unknown item 999"),
        (lambda m: m.recommend(Query(history=[0]), 0), ConfigError, "k must be at least 1"),
        (lambda m: m.recommend([0], 1, allow=[]), DataError, "allow must name at least one item"),
        (lambda m: m.recommend([0], 1, deny=[999], strict=True), DataError, "unknown item 999"),
        (
            lambda m: m.recommend([0], 1, allow=999),
            DataError,
            "at least one item of the catalogue; 1 of the 1",
        ),
        (lambda m: m.explain([0, 1], [0]), DataError, "one user, got 2"),
        (lambda m: m.explain(0, []), ConfigError, "at least one item to explain"),
        (lambda m: m.explain(12345, [0]), DataError, "unknown user 12345"),
        (
            lambda m: m.encode_items(pl.DataFrame({"kin": ["k0"]})),
            DataError,
            "got 'kin'. Did you mean 'kind'",
        ),
        (lambda m: m.encode_queries(tt.Queries.of(features=pl.DataFrame({"age": ["x"]}))), DataError, "'x'"),
        (
            lambda m: m.encode_queries(tt.Queries.of(features=pl.DataFrame({"age": []}))),
            DataError,
            "at least one row",
        ),
    ],
)
def test_bad_input(one: Recommender, call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(one)
