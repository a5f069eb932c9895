"""The fingerprint changes with whatever a model could learn from, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from twotower.data.dataset import Dataset
from twotower.data.fingerprint import fingerprint
from twotower.data.splitting import Parts

SCHEMA = {
    "label": "stars",
    "timestamp": "at",
    "users": {"age": "number"},
    "items": {"tags": "categories", "kind": "category"},
    "display": ["title"],
}
EVENTS = pl.DataFrame(
    {
        "user_id": [1, 1, 2, 3],
        "item_id": ["a", "b", "a", "b"],
        "stars": [1.0, 2.0, 3.0, 4.0],
        "at": [1, 2, None, 4],
    }
)
USERS = pl.DataFrame({"user_id": [1, 2, 3], "age": [20.0, None, 40.0]})
ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b"],
        "tags": [["x", "y"], []],
        "kind": ["k", "l"],
        "title": ["A", "B"],
        "other": [1, 2],
    }
)


def parts(
    events: pl.DataFrame = EVENTS,
    users: pl.DataFrame = USERS,
    items: pl.DataFrame = ITEMS,
    schema: dict[str, Any] = SCHEMA,
    cut: int = 2,
) -> Parts:
    data = Dataset.of(events, users, items, schema=schema)
    train, rest = data.interactions[:cut], data.interactions[cut:]
    return Parts(
        data.with_interactions(train).as_train(),
        data.with_interactions(rest[:1]),
        data.with_interactions(rest[1:]),
    )


def test_the_same_data_has_the_same() -> None:
    found = fingerprint(parts())
    assert (
        found == "7306f3a24248e522ff572a5a5179393a5356222ee171e3f4dfbca8a8e3e97114"
    )  # as in earlier versions
    assert fingerprint(parts(EVENTS.clone(), USERS.clone(), ITEMS.clone())) == found
    chunked = pl.concat([EVENTS[:1], EVENTS[1:]], rechunk=False)
    assert fingerprint(parts(chunked)) == found
    assert (
        fingerprint(parts(items=ITEMS.with_columns(other=pl.lit(7)))) == found
    )  # which the schema names not
    assert fingerprint(parts(EVENTS.with_columns(more=pl.lit("x")))) == found
    noted = parts()
    assert fingerprint(replace(noted, test=noted.test.with_notes("a note"))) == found


CHANGES: dict[str, dict[str, Any]] = {
    "a label": {"events": EVENTS.with_columns(stars=pl.Series([1.0, 2.0, 3.0, 4.5]))},
    "the order": {"events": EVENTS[[1, 0, 2, 3]]},
    "a row less": {"events": EVENTS[:3]},
    "a time": {"events": EVENTS.with_columns(at=pl.Series([1, 2, 3, 4]))},
    "where the null is": {"events": EVENTS.with_columns(at=pl.Series([1, None, 2, 4]))},
    "an id": {"events": EVENTS.with_columns(item_id=pl.Series(["a", "b", "a", "a"]))},
    "a user's feature": {"users": USERS.with_columns(age=pl.Series([20.0, None, 41.0]))},
    "which is missing": {"users": USERS.with_columns(age=pl.Series([None, 20.0, 40.0]))},
    "an item's feature": {"items": ITEMS.with_columns(kind=pl.Series(["k", "m"]))},
    "where a text ends": {"items": ITEMS.with_columns(title=pl.Series(["AB", ""]))},
    "where a list ends": {"items": ITEMS.with_columns(tags=pl.Series([["x"], ["y"]]))},
    "a list that is missing": {"items": ITEMS.with_columns(tags=pl.Series([["x", "y"], None]))},
    "the schema": {"schema": {**SCHEMA, "items": {"tags": "categories"}}},
    "a kind": {"schema": {**SCHEMA, "users": {"age": "log_number"}}},
    "the split": {"cut": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_shows(change: str) -> None:
    assert fingerprint(parts(**CHANGES[change])) != fingerprint(parts())
