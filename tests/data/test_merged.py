"""Features that ride along with the interactions, and id columns of other names."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.data.dataset import Dataset
from twotower.data.merged import features_within, is_function_of, split_out
from twotower.data.splitting import parts_of
from twotower.errors import DataError

EVENTS = pl.DataFrame(
    {
        "u": [1, 1, 2, 2, 3, 3],
        "i": [7, 8, 7, 8, 7, 9],
        "y": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "age": [30, 30, 31, None, 30, 30],
        "tags": [["a"], ["b", "c"], ["a"], ["b", "c"], ["a"], None],
        "same": [1, 1, 1, 1, 1, 1],
    }
)
SCHEMA: dict[str, Any] = {
    "user": "u",
    "item": "i",
    "label": "y",
    "users": {"age": "number"},
    "items": {"tags": "categories"},
}


def test_features_are_split_out() -> None:
    data = Dataset.of(EVENTS, schema=SCHEMA)
    assert data.users.rows() == [(1, 30.0), (2, 31.0), (3, 30.0)]
    assert data.items.rows() == [(7, ["a"]), (8, ["b", "c"]), (9, None)]
    assert data.interactions.columns == ["u", "i", "y", "same"]
    again = Dataset.of(data.interactions, data.users, data.items, schema=data.schema)
    assert again.users.equals(data.users)


def test_one_side_may_have_its_table() -> None:
    items = pl.DataFrame({"i": [7, 8, 9], "tags": [["x"], ["y"], ["z"]]})
    data = Dataset.of(EVENTS, items=items, schema=SCHEMA)
    assert data.items["tags"].to_list() == [["x"], ["y"], ["z"]]
    assert data.users["age"].to_list() == [30, 31, 30]


def test_lists_that_change_are_found() -> None:
    changed = EVENTS.with_columns(tags=pl.Series([["a"], ["b"], ["a"], ["c"], ["a"], None]))
    with pytest.raises(
        DataError, match=r"column 'tags' of i 8 is \['b'\] in data row 2 and \['c'\] in data row 4"
    ):
        Dataset.of(changed, schema=SCHEMA)


def test_a_feature_that_is_missing_is_named() -> None:
    with pytest.raises(DataError, match=r"interactions has no column 'agee'.* Did you mean 'age'"):
        Dataset.of(EVENTS, schema={**SCHEMA, "users": {"age": "number", "agee": "number"}})


def test_features_within() -> None:
    assert features_within(EVENTS, "u", EVENTS.columns) == ["age"]
    assert features_within(EVENTS, "i", EVENTS.columns) == ["tags"]
    assert features_within(EVENTS.unique("u"), "u", EVENTS.columns) == [], (
        "ids that never come back tell nothing"
    )


def test_ids_of_other_names() -> None:
    events = EVENTS.select("u", "i", "y")
    users = pl.DataFrame({"userId": [1, 2, 3], "age": [30, 31, 32]})
    items = pl.DataFrame({"id": [9, 8, 7], "i": ["ignored"] * 3, "tags": [["x"], ["y"], ["z"]]})
    schema = {**SCHEMA, "users_id": "userId", "items_id": "id"}
    data = Dataset.of(events, users, items, schema=schema)
    assert data.users.columns == ["u", "age"]
    assert data.items.rows() == [(9, ["x"]), (8, ["y"]), (7, ["z"])]
    assert data.schema.users_id is None
    assert Dataset.of(events, users.rename({"userId": "u"}), items, schema=schema).users.equals(data.users)
    with pytest.raises(DataError, match="and another column 'i'"):
        Dataset.of(events, users, items, schema={**schema, "display": ["i"]})


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 2))), min_size=1, max_size=20)
)
def test_split_out_agrees_with_a_dict(rows: list[tuple[int, int | None]]) -> None:
    frame = pl.DataFrame({"id": [r[0] for r in rows], "f": pl.Series([r[1] for r in rows], dtype=pl.Int64)})
    values: dict[int, set[int]] = {one: set() for one, _ in rows}
    for one, value in rows:
        if value is not None:
            values[one].add(value)
    fits = all(len(found) <= 1 for found in values.values())
    assert is_function_of(frame, "id", "f") == fits
    if fits:
        want = [(one, next(iter(values[one]), None)) for one in sorted(values)]
        assert split_out(frame, "id", ["f"], "t").rows() == want
    else:
        with pytest.raises(DataError, match="one value per id"):
            split_out(frame, "id", ["f"], "t")


def test_parts_agree_on_features() -> None:
    one, two = Dataset.of(EVENTS[:3], schema=SCHEMA), Dataset.of(EVENTS[3:], schema=SCHEMA)
    parts = parts_of(one, two, validation_share=0.5)  # a missing value yields to a known one
    assert parts.train.users.rows() == [(1, 30.0), (2, 31.0), (3, 30.0)]
    other = Dataset.of(EVENTS[3:].with_columns(age=pl.Series([32, 30, 30])), schema=SCHEMA)
    with pytest.raises(DataError, match=r"the users of all sets together, column 'age' of u 2 is 31\.0"):
        parts_of(one, other)
