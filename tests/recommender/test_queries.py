"""`Queries`: the same answers from columns as from each `Query`, and the vectors that folding in gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from test_recommender_folding import SOLVED, data

import twotower as tt
from twotower.errors import ConfigError, DataError
from twotower.recommender import Recommender

ROWS: list[dict[str, Any]] = [
    {"user": 6},
    {"features": {"age": 1.5}},
    {"history": []},
    {"history": [1, 3]},
    {"history": [1, 3, 1], "labels": [0.1, None, 0.9]},
    {"history": [1, 3], "features": {"age": -2.0}},
    {"user": 6, "history": [1, 3]},
    {"user": 6, "history": [2, 5], "labels": [0.1, 0.9], "times": [1.0, 2.0], "at": 3.0},
    {"user": 777, "history": [0], "features": {"age": 1.5}},
]


@pytest.fixture(scope="module")
def model() -> Recommender:
    return tt.TwoTower(positive=0.5, **SOLVED).fit(data())


def test_closed_form_models_fold_a_query_in_to_the_bit(model: Recommender) -> None:
    """Against direct calls of `FoldIn`, one query after another."""
    folding, none = model.folding, np.empty(0, np.int64)
    trained, by_age = model.users.vectors, model.encode_queries(tt.Query(features={"age": 1.5}))[0]
    past, before = model.history_of(6)
    low, high = (float(one) for one in model.targets(np.array([1, 1]), [0.1, 0.9]))  # type: ignore[union-attr]
    liked = model.least_squares.positive
    expected = {
        0: trained[6],
        1: by_age,
        2: folding.typical,
        3: folding.vector(np.array([1, 3])),
        4: folding.vector(np.array([1, 3, 1]), np.array([low, liked, high])),
        6: folding.moved(trained[6], past, before, np.array([1, 3])),
        7: folding.moved(trained[6], past, before, np.array([2, 5]), np.array([low, high])),
        8: folding.moved(by_age, none, None, np.array([0])),
    }
    found = model.encode_queries([tt.Query(**row) for row in ROWS])
    for place, vector in expected.items():
        npt.assert_array_equal(found[place], vector, err_msg=str(ROWS[place]))


def test_a_table_of_queries_is_answered_as_each_query(model: Recommender) -> None:
    table = pl.DataFrame(ROWS, schema_overrides={"labels": pl.List(pl.Float64)}, infer_schema_length=None)
    assert table.columns[0] == "user"
    columns = tt.Queries.of(table)
    queries = [tt.Query(**row) for row in ROWS]
    npt.assert_array_equal(model.encode_queries(columns), model.encode_queries(queries))
    assert model.recommend(columns, 5).equals(model.recommend(queries, 5))
    assert model.similar_users(columns, 3).equals(model.similar_users(queries, 3))
    assert columns.at is not None
    assert columns.history is not None
    assert columns.at[7] == 3.0
    assert columns.history.times is not None
    npt.assert_array_equal(columns.history.times[-3:-1], [1.0, 2.0])
    assert tt.Queries.of(columns) is columns
    assert model.explain(tt.Queries.of(table[6:7]), [5]).equals(model.explain(queries[6], [5]))


def test_ids_alone_are_queries_that_need_no_number(model: Recommender) -> None:
    assert model.recommend(tt.Queries.of([3, 8]), 2).equals(model.recommend([3, 8], 2))
    assert "query" not in model.recommend(tt.Queries.of("3"), 2).columns


def test_a_table_of_features(model: Recommender) -> None:
    ages = pl.DataFrame({"age": [1.5, None]})
    by_row = [tt.Query(features=row) for row in ages.iter_rows(named=True)]
    npt.assert_array_equal(model.encode_queries(tt.Queries.of(features=ages)), model.encode_queries(by_row))
    found = model.recommend(tt.Queries.of([901, 902], features=ages), 1)
    assert found["user_id"].to_list() == [901, 902]
    with pytest.warns(DeprecationWarning, match=r"encode_queries\(tt\.Queries\.of\(features=table"):
        npt.assert_array_equal(model.encode_users(ages), model.encode_queries(by_row))
    with pytest.raises(DataError, match="each of the 1 users, got 2"):
        tt.Queries.of([901], features=ages)


def test_texts_of_dicts_are_read_alone_and_those_of_a_column_together(model: Recommender) -> None:
    texts = ["1.5", "-2"]
    alone = np.concatenate([model.encode_queries(tt.Query(features={"age": text})) for text in texts])
    dicts = [tt.Query(features={"age": text}) for text in texts]
    npt.assert_array_equal(model.encode_queries(dicts), alone)
    npt.assert_array_equal(
        alone, model.encode_queries(tt.Queries.of(features=pl.DataFrame({"age": [1.5, -2.0]})))
    )


def test_a_planted_target_is_refused_as_part_of_its_own_history() -> None:
    """A query is asked at the time of its target, so the target can't be in the history."""
    times = [1.0, 2.0, 3.0]
    assert tt.Query(history=[5, 6], times=times[:2], at=3.0).at == 3.0
    with pytest.raises(DataError, match=r"asked at 3\.0; got an item at 3\.0"):
        tt.Query(history=[5, 6, 7], times=times, at=3.0)
    table = pl.DataFrame({"history": [[5], [5, 6, 7]], "times": [[9.0], times], "at": [10.0, 3.0]})
    with pytest.raises(DataError, match=r"asked at 3\.0; got an item at 3\.0"):
        tt.Queries.of(table)


def test_times_are_seconds_or_datetimes_with_a_zone() -> None:
    when = datetime(2024, 1, 2, tzinfo=UTC)
    query = tt.Query(history=[5], times=[when], at=when.timestamp() + 1)
    assert query.times == (when.timestamp(),)
    table = pl.DataFrame({"history": [[5]], "at": [when.replace(tzinfo=None)]})
    assert tt.Queries.of(table).at == when.timestamp()


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"user": 1, "times": [1.0]}, ConfigError, "times are those of the history"),
        ({"history": [1, 2], "times": [1.0]}, DataError, r"one time for each of the 2 items.*got \[1\.0\]"),
        ({"history": [1], "times": ["noon"]}, DataError, "a finite number of seconds.*got 'noon'"),
        ({"history": [1], "times": {1.0}}, DataError, "times are a list.*got set"),
        ({"history": {1, 2}, "times": [1.0, 2.0]}, DataError, "times need a history in order, got a set"),
        ({"user": 1, "at": datetime(2024, 1, 1)}, DataError, "needs a time zone"),
        ({"user": 1, "at": True}, DataError, "a finite number of seconds"),
        ({"user": 1, "at": 1704067200000}, DataError, "1704067200000, which looks like milliseconds"),
    ],
)
def test_bad_times(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        tt.Query(**given)


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ({"user": []}, ConfigError, "at least one user"),
        ({"usr": [1]}, DataError, "got 'usr'. Did you mean 'user'"),
        ({"user": [1, None]}, ConfigError, "got none of them in row 1"),
        ({"history": [1]}, DataError, "lists of item ids, got a column of Int64"),
        ({"history": [[1, None]]}, DataError, "got null"),
        ({"labels": [[1.0]]}, ConfigError, "give the history too"),
        ({"history": [[1, 2]], "labels": [[1.0]]}, DataError, "each of the 2 items of the history, got 1 in"),
        ({"history": [[1]], "labels": [1.0]}, DataError, "labels are a column of lists"),
        ({"history": [[1]], "times": [["x"]]}, DataError, "times are finite numbers"),
        ({"user": [1], "features": [3.0]}, DataError, "structs.*got a column of Float64"),
        ({"user": [1], "at": [float("inf")]}, DataError, "at are finite numbers"),
    ],
)
def test_bad_tables(columns: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        tt.Queries.of(pl.DataFrame(columns))


def test_queries_say_what_they_hold() -> None:
    shown = repr(tt.Queries.of([tt.Query(user=1, at=5), tt.Query(history=[2, 3], features={"age": 1})]))
    assert shown.splitlines()[0] == "Queries: 2"
    for fact in ("users      1", "histories  1, 2 items", "features   1", "at         1"):
        assert fact in shown


def test_times_of_a_column_are_not_milliseconds() -> None:
    asked = pl.DataFrame({"user": [1], "history": [[1]], "times": [[1704067200000]]})
    with pytest.raises(DataError, match="looks like milliseconds; divide by 1000"):
        tt.Queries.of(asked)
