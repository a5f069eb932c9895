"""`Dataset.of` on Polars and pandas frames, and what it says when a table is wrong."""

import re

import pandas as pd
import polars as pl
import pytest

from twotower.data.dataset import Dataset, TrainPart, to_polars
from twotower.errors import ConfigError, DataError

EVENTS = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [10, 11, 10], "y": [0.5, 1.0, 2.0]})


def test_without_features_the_tables_hold_the_ids() -> None:
    data = Dataset.of(EVENTS, schema={"label": "y"})
    assert len(data) == 3
    assert data.users.to_dict(as_series=False) == {"user_id": [1, 2]}
    assert data.items.to_dict(as_series=False) == {"item_id": [10, 11]}
    assert data.notes == ()


def test_pandas_frames_give_the_same() -> None:
    users = pd.DataFrame({"user_id": [1, 2], "age": [30.0, None], "job": ["x", None]}, index=[7, 7])
    schema = {"label": "y", "users": {"age": "number", "job": "category"}}
    data = Dataset.of(EVENTS.to_pandas(), users, schema=schema)
    assert data.interactions.equals(Dataset.of(EVENTS, schema={"label": "y"}).interactions)
    assert data.users.to_dict(as_series=False) == {"user_id": [1, 2], "age": [30.0, None], "job": ["x", None]}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            pd.DataFrame({"a": pd.Series([1, "x"], dtype=object)}),
            "column 'a' of the pandas frame has several",
        ),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a'"),
        ({"a": [1]}, "must be a Polars or pandas data frame, got dict"),
        ("log.csv", "got str; read files with"),
    ],
)
def test_frames_that_cannot_be_read(frame: object, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        to_polars(frame)


def test_lazy_frames_are_collected() -> None:
    assert to_polars(EVENTS.lazy()).equals(EVENTS)


def test_ids_get_one_type_across_tables() -> None:
    users = pl.DataFrame({"user_id": ["1", "2"], "age": [3, 4]})
    items = pl.DataFrame({"item_id": pl.Series([10, 11], dtype=pl.Int16), "n": [1, 2]})
    data = Dataset.of(EVENTS, users, items, schema={"users": {"age": "number"}, "items": {"n": "number"}})
    assert data.interactions.schema["user_id"] == data.users.schema["user_id"] == pl.String
    assert data.interactions.schema["item_id"] == data.items.schema["item_id"] == pl.Int64
    assert data.notes == ()


def test_interactions_without_a_row_in_their_table_are_kept_and_noted() -> None:
    users = pl.DataFrame({"user_id": [2, 3], "age": [3, 4]})
    schema = {"users": {"age": "number"}}
    data = Dataset.of(EVENTS, users, schema=schema, sources={"users": "people.csv"})
    assert len(data) == 3
    assert data.notes == (
        "people.csv has no row for 1 user (2 interactions, 66.7%); these are kept, with all features missing",
    )


def test_features_need_their_table() -> None:
    with pytest.raises(
        DataError, match=re.escape("names columns of items (title), but that table was not passed")
    ):
        Dataset.of(EVENTS, schema={"display": ["title"]})


def test_features_in_long_form_say_how_to_turn_them() -> None:
    long = pd.DataFrame({"id": [1, 1], "feature": ["year", "genre"], "value": [1999, "drama"]})
    schema = {"items": {"year": "number", "genre": "category"}}
    with pytest.raises(DataError, match=r"items has the columns id, feature, value.*pivot_table\(index='id'"):
        Dataset.of(EVENTS, items=long, schema=schema)
    wide = long.pivot_table(index="id", columns="feature", values="value", aggfunc="first").reset_index()
    data = Dataset.of(EVENTS, items=wide, schema={**schema, "items_id": "id"})
    assert data.items.filter(pl.col("item_id") == 1).select("year", "genre").row(0) == (1999, "drama")
    named = pd.DataFrame({"item_id": [1, 2], "feature": ["a", "b"], "value": [1.0, 2.0]})
    features = {"items": {"feature": "category", "value": "number"}}
    assert Dataset.of(EVENTS, items=named, schema=features).items["value"].to_list()[:2] == [1, 2]


def test_ids_of_another_name_say_where_to_name_them() -> None:
    items = pl.DataFrame({"id": [1], "year": [1999]})
    with pytest.raises(
        DataError, match=r"items has no column 'item_id'.*name that as items_id in the schema"
    ):
        Dataset.of(EVENTS, items=items, schema={"items": {"year": "number"}})


def test_a_wrong_schema_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="label"):
        Dataset.of(EVENTS, schema={"lable": "y"})


def test_duration_is_kept_in_the_items_and_must_be_somewhere() -> None:
    items = pl.DataFrame({"item_id": [10, 11], "seconds": [7, None]})
    data = Dataset.of(EVENTS, items=items, schema={"duration": "seconds"})
    assert data.items.get_column("seconds").to_list() == [7.0, None]
    data = Dataset.of(EVENTS.with_columns(seconds=pl.lit(1)), schema={"duration": "seconds"})
    assert data.interactions.schema["seconds"] == pl.Float64
    with pytest.raises(
        DataError, match=r"neither interactions nor items has a column 'second'. Did you mean 'sec"
    ):
        Dataset.of(EVENTS, items=items, schema={"duration": "second"})


def test_train_parts_are_declared() -> None:
    data = Dataset.of(EVENTS, schema={}).with_notes("a note")
    train = data.as_train()
    assert isinstance(train, TrainPart)
    assert train.notes == ("a note",)
    assert not isinstance(train.with_interactions(EVENTS.head(1), "cut"), TrainPart)
    with pytest.raises(DataError, match="got 0"):
        data.with_interactions(EVENTS.head(0)).as_train()


def test_datasets_compare_by_identity() -> None:
    data = Dataset.of(EVENTS, schema={})
    assert data == data  # noqa: PLR0124
    assert data != Dataset.of(EVENTS, schema={})
