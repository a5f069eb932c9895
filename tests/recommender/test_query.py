"""`Query`: what it takes, what it refuses, and the vectors that it stands for."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import polars as pl
import pytest
from test_recommender_folding import N_ITEMS, N_USERS, SOLVED, data

import twotower as tt
from twotower.errors import ConfigError, DataError
from twotower.recommender import Recommender


@pytest.fixture(scope="module")
def model() -> Recommender:
    return tt.TwoTower(positive=0.5, **SOLVED).fit(data())


def test_a_query_is_a_value() -> None:
    query = tt.Query(user=np.int64(3), history=pl.Series([1, 2]), labels=[0.5, None])
    assert query == tt.Query(user=3, history=(1, 2), labels=(0.5, None))
    assert pickle.loads(pickle.dumps(query)) == query
    assert hash(query) == hash(tt.Query(user=3, history=[1, 2], labels=[0.5, None]))
    with pytest.raises(AttributeError):
        query.user = 4  # type: ignore[misc]
    given = {"age": 31}
    query = tt.Query(features=given)
    given["age"] = 32
    assert query.features == {"age": 31}


@pytest.mark.parametrize(
    "history", [[3, 5], (3, 5), pl.Series([3, 5]), pd.Series([3, 5]), np.array([3, 5]), iter([3, 5])]
)
def test_a_history_comes_in_any_container(history: Any) -> None:
    assert tt.Query(history=history).items == (3, 5)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({}, ConfigError, "a user, a history or features, got none of them"),
        ({"user": 3, "labels": [1.0]}, ConfigError, "give the history too"),
        ({"user": [3, 4]}, DataError, r"one user, got \[3, 4\]"),
        ({"history": [[3]]}, DataError, "flat list of ids"),
        ({"history": [3, None]}, DataError, "got None at place 1"),
        ({"history": pl.DataFrame({"i": [3]})}, DataError, "pass one column of a table"),
        ({"history": [3, 5], "labels": [1.0]}, DataError, r"each of the 2 items of the history, got \[1.0\]"),
        ({"history": [3], "labels": [float("nan")]}, DataError, "one finite label"),
        ({"history": [3], "labels": ["much"]}, DataError, r"one finite label.*got \['much'\]"),
        ({"history": [3], "labels": [10**400]}, DataError, "one finite label for each of the 1 item of"),
        (
            {"history": [3, 5], "labels": {3: 1.0, 5: 2.0}},
            DataError,
            "labels are a list in the order.*got dict",
        ),
        ({"history": [3, 5], "labels": {1.0, 2.0}}, DataError, "labels are a list in the order.*got set"),
        ({"history": {3, 5}, "labels": [1.0, 2.0]}, DataError, "labels need a history in order, got a set"),
        ({"features": [1]}, DataError, "features are a dict.*got list"),
        ({"features": pl.DataFrame({"age": [3]})}, DataError, "Query.features=row."),
    ],
)
def test_bad_queries(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        tt.Query(**given)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (tt.Query(user=12345), "unknown user 12345.*For someone new give tt.Query"),
        (tt.Query(history=[999]), "unknown item 999"),
        (tt.Query(user=3, features={"age": 1.0}), "it knows user 3; leave out the features, or the user"),
        (tt.Query(features={"aeg": 1.0}), "got 'aeg'. Did you mean 'age'"),
        (tt.Query(features={"age": {"x": 1}}), "'age'"),
        (tt.Query(features={"age": [1, "x"]}), "values of one kind, got {'age': "),
    ],
)
def test_queries_that_the_model_cannot_answer(model: Recommender, query: tt.Query, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.recommend(query)


def test_labels_are_negative_only_where_some_of_the_training_set_are() -> None:
    rows = pl.DataFrame({"user_id": [0, 0, 1, 1, 2, 2], "item_id": [0, 1, 1, 2, 2, 0]})
    counts = pl.Series("y", [1.0, 4.0, 0.0, 2.0, 7.0, 3.0])
    asked = tt.Query(history=[1, 2], labels=[None, -5.0])
    for label, refused in ((counts, True), (counts - 2.0, False)):
        data = tt.Dataset.of(rows.with_columns(label), schema={"label": "y"}).as_train()
        model = tt.TwoTower(dim=4, epochs=1, threads=1).fit(data)
        assert len(model.recommend(tt.Query(history=[1], labels=[0.0]), k=1)) == 1
        if refused:
            with pytest.raises(
                DataError, match=r"no label of the training set is negative.*got -5\. Correct it"
            ):
                model.recommend(asked, k=1)
            table = pl.DataFrame({"history": [[1, 2]], "labels": [[1.0, -5.0]]})
            with pytest.raises(DataError, match="no label of the training set is negative"):
                model.recommend(table, k=1)
        else:
            assert len(model.recommend(asked, k=1)) == 1


def test_a_label_that_is_too_large_is_refused(model: Recommender) -> None:
    for label in (1e39, -1e39):
        with pytest.raises(
            DataError, match=r"must fit a 32-bit float, at most 3\.4e\+38 in size; got -?1e\+39"
        ):
            model.recommend(tt.Query(history=[3], labels=[label]))
    with pytest.raises(DataError, match=r"on a scale, whose highest is 0\.9 in the training set; got 1e\+37"):
        model.recommend(tt.Query(history=[3], labels=[1e37]))
    assert len(model.recommend(tt.Query(history=[3], labels=[0.9]), k=1)) == 1


@pytest.mark.parametrize("label", [True, np.True_, "5", b"5", "x"])
def test_labels_and_times_are_numbers(label: Any) -> None:
    for given in ([label], label):
        with pytest.raises(DataError, match="one finite label for each"):
            tt.Query(history=[3], labels=given)
        with pytest.raises(DataError, match="a time is a finite number"):
            tt.Query(history=[3], times=given)
    query = tt.Query(history=[3, 4], labels=[np.float32(0.5), 2], times=[np.int64(1), 2.5])
    assert (query.labels, query.times) == ((0.5, 2.0), (1.0, 2.5))


def test_ids_queries_and_both_in_one_list(model: Recommender) -> None:
    plain = model.recommend([3, 8], 4)
    for users in ([tt.Query(user=3), tt.Query(user=8)], [3, tt.Query(user=8)], ["3", tt.Query(user="8")]):
        found = model.recommend(users, 4)
        assert found.columns == ["query", "user_id", "item_id", "rank", "score"]
        assert found.drop("query").equals(plain)
        assert found["query"].to_list() == [0] * 4 + [1] * 4
    assert model.recommend(iter([3, tt.Query(user=8)]), 4).equals(model.recommend([3, tt.Query(user=8)], 4))


def test_someone_new_may_have_an_id(model: Recommender) -> None:
    found = model.recommend([tt.Query(user=777, history=[0]), tt.Query(features={"age": 1.0})], 2)
    assert found["user_id"].to_list() == [777, 777, None, None]
    assert found["user_id"].dtype == model.user_ids.dtype
    found = model.recommend([tt.Query(user="guest", history=[0]), 4], 1)
    assert found["user_id"].to_list() == ["guest", "4"]
    assert "user_id" not in model.recommend(tt.Query(history=[0])).columns


def test_each_part_of_a_query_says_what_it_should(model: Recommender) -> None:
    typical = model.folding.typical
    by_features = model.encode_queries(tt.Queries.of(features=pl.DataFrame({"age": [1.5, -2.0]})))
    past, targets = model.history_of(6)
    none = np.empty(0, np.int64)
    new = np.array([1, 3])
    labels = model.targets(new[:1], [0.1])
    assert labels is not None
    some = np.array([labels[0], model.least_squares.positive])
    expected = {
        "known": (tt.Query(user=6), model.users.vectors[6]),
        "nothing": (tt.Query(features={}), typical),
        "no history": (tt.Query(history=[]), typical),
        "features": (tt.Query(features={"age": 1.5}), by_features[0]),
        "more features": (tt.Query(features={"age": -2}), by_features[1]),
        "history": (tt.Query(history=[1, 3]), model.folding.vector(new)),
        "labels": (tt.Query(history=[1, 3], labels=[0.1, None]), model.folding.vector(new, some)),
        "both": (
            tt.Query(history=[1, 3], features={"age": 1.5}),
            model.folding.moved(by_features[0], none, None, new),
        ),
        "known and fresh": (
            tt.Query(user=6, history=[1, 3]),
            model.folding.moved(model.users.vectors[6], past, targets, new),
        ),
    }
    together = model.encode_queries([query for query, _ in expected.values()])
    for (name, (query, vector)), among in zip(expected.items(), together, strict=True):
        alone = model.encode_queries(query)[0]  # the same but for the last bit, which matrix products round
        npt.assert_allclose(among, alone, rtol=1e-6, atol=1e-7, err_msg=name)
        npt.assert_allclose(among, vector, rtol=1e-5, atol=1e-6, err_msg=name)
    distinct = np.unique(together.round(5), axis=0)
    assert len(distinct) == len(expected) - 1  # nothing and no history are the same


def test_what_is_seen_is_left_out(model: Recommender) -> None:
    own = set(data().interactions.filter(pl.col("user_id") == 6)["item_id"].to_list())
    fresh = sorted(set(range(N_ITEMS)) - own)[:2]
    found = model.recommend(tt.Query(user=6, history=fresh), N_ITEMS)
    assert set(found["item_id"]) == set(range(N_ITEMS)) - own - set(fresh)
    assert model.recommend(tt.Query(user=6, history=fresh), N_ITEMS, exclude_seen=False).height == N_ITEMS


def test_reasons_for_a_query_add_up(model: Recommender) -> None:
    for query, n in (
        (tt.Query(user=6), None),
        (tt.Query(user=6, history=[1, 3]), None),
        (tt.Query(history=[1, 3], features={"age": 1.5}), 2),
        (tt.Query(features={"age": 1.5}), 0),
    ):
        found = model.recommend(query, 3)
        table = model.explain(query, found["item_id"])
        if n is not None:
            assert table.height == 3 * n
        for item, score in found.select("item_id", "score").rows():
            part = table.filter(pl.col("item_id") == item)
            if n != 0:
                npt.assert_allclose(part["base"][0] + part["contribution"].sum(), score, atol=1e-4)
    because = model.explain(tt.Query(user=6, history=[1, 3]), 5)["because_item_id"]
    assert {1, 3} <= set(because)
    assert len(because) > 2


def test_many_queries_at_once_are_those_alone(model: Recommender) -> None:
    rng = np.random.default_rng(0)
    rows = [
        tt.Query(history=rng.choice(N_ITEMS, n % 5, replace=False), features={"age": float(n)})
        for n in range(30)
    ]
    together = model.recommend([*rows, *range(10)], 5)
    for place, one in enumerate([*rows, *range(10)]):
        own, alone = together.filter(pl.col("query") == place), model.recommend(one, 5)
        assert own.select("item_id", "rank").equals(alone.select("item_id", "rank"))
        npt.assert_allclose(
            own["score"], alone["score"], rtol=1e-6, atol=1e-7
        )  # a product rounds by its size
    assert N_USERS > 10


def test_the_old_names_still_work_and_say_what_to_call(model: Recommender) -> None:
    with pytest.warns(DeprecationWarning, match=r"use recommend\(tt\.Query\(history=") as caught:
        found = model.recommend_from([[0, 2], [5]], 3, labels=[[0.9, 0.1], [0.5]], deny=[4])
    assert caught[0].filename == __file__
    queries = [tt.Query(history=[0, 2], labels=[0.9, 0.1]), tt.Query(history=[5], labels=[0.5])]
    assert found.rename({"list": "query"}).equals(model.recommend(queries, 3, deny=[4]))
    with pytest.warns(DeprecationWarning, match="use similar_items"):
        assert model.similar([3], 2).equals(model.similar_items([3], 2))
    with pytest.warns(DeprecationWarning, match="encode_queries"):
        npt.assert_array_equal(
            model.fold_in([[0, 2], [5]], [[0.9, 0.1], [0.5]]), model.encode_queries(queries)
        )
    with pytest.warns(DeprecationWarning, match="explain"):
        assert model.explain_from([0, 2], 5).equals(model.explain(tt.Query(history=[0, 2]), 5))
    with pytest.warns(DeprecationWarning, match="use search"):
        top = model.top(model.users.vectors[:2], 3)
    npt.assert_array_equal(top.items, model.search(model.users.vectors[:2], 3).items)
    with (
        pytest.warns(DeprecationWarning, match="recommend_from is deprecated"),
        pytest.raises(DataError, match="the bare id 0 among 2; write"),
    ):
        model.recommend_from([0, 1])


def test_lists_are_plain_tables_for_pandas_too(model: Recommender) -> None:
    table = model.recommend([3, tt.Query(history=[0])], 3).to_pandas()
    assert list(table.columns) == ["query", "user_id", "item_id", "rank", "score"]
    assert len(table) == 6


def test_half_of_a_surrogate_pair_is_an_unknown_id(model: Recommender) -> None:
    for query in (tt.Query(user="\ud800"), tt.Query(history=[3, "\ud800"])):
        with pytest.raises(DataError, match=r"unknown (user|item) .*ud800"):
            model.recommend(query)
