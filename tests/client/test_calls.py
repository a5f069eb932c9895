"""A call as text: whatever an id holds arrives, and what JSON lacks is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twotower.client.calls import in_path
from twotower.client.routes import item, places, recommend, recommend_one, send_events
from twotower.errors import DataError


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("..")
@example(".")
@example("a/../b?c#d%2F")
@example("电影\n\x00")
def test_an_id_is_one_part_of_the_path_and_arrives_as_it_is(name):
    path = httpx.URL("http://host/rec" + item(name).path).raw_path.decode()
    assert path.count("/") == 4
    assert unquote(path) == f"/rec/v1/items/{name}"


def test_an_id_that_is_no_unicode_is_refused():
    with pytest.raises(DataError, match="valid Unicode"):
        in_path("\ud800")


def test_what_is_not_given_is_not_sent():
    assert json.loads(places([3]).content() or b"") == {"items": [3]}
    assert recommend_one(3, exclude_seen=False).query() == {
        "k": "10",
        "exclude_seen": "false",
        "explain": "0",
    }
    assert item(3).content() is None


def test_values_of_numpy_and_times_are_sent_as_json_has_them():
    moment = datetime(2026, 1, 2, 3, tzinfo=UTC)
    user = {"history": np.array([3, 4]), "times": (moment, np.float32(0.5)), "features": {"age": np.int64(7)}}
    sent = json.loads(recommend([user], allow={5}, diversity=False).content() or b"")
    assert sent["users"] == [
        {"history": [3, 4], "times": ["2026-01-02T03:00:00+00:00", 0.5], "features": {"age": 7}}
    ]
    assert (sent["allow"], sent["diversity"]) == ([5], False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"3", object()])
def test_what_json_lacks_is_refused_before_anything_is_sent(value):
    event = {"id": "a", "user_id": 1, "item_id": 2, "value": value}
    with pytest.raises(DataError, match="finite numbers"):
        send_events([event]).content()
