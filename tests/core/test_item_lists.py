"""Lists of items by user: checked, and taken for some users."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.core.item_lists import check_lists, distinct_items, no_items, take_lists
from twotower.errors import DataError


def as_lists(lists):
    pointers = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return pointers, np.array([i for one in lists for i in one], dtype=np.int32)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
def test_lists_of_some_users(lists, data):
    users = data.draw(st.lists(st.sampled_from(range(len(lists))), max_size=8))
    pointers, rows = take_lists(as_lists(lists), np.array(users, dtype=np.int64))
    expected = as_lists([lists[u] for u in users])
    np.testing.assert_array_equal(pointers, expected[0])
    np.testing.assert_array_equal(rows, expected[1])


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_whole_numbers_of_any_kind_become_the_lists_types(kind):
    given_lists = np.array([0, 2, 2], dtype=kind), np.array([4, 0], dtype=kind)
    pointers, rows = check_lists("x", given_lists, 2, 5)
    assert (pointers.dtype, rows.dtype) == (np.int64, np.int32)
    assert (pointers.tolist(), rows.tolist()) == ([0, 2, 2], [4, 0])


def test_no_items_are_lists():
    pointers, rows = check_lists("x", no_items(3), 3, 0)
    assert (pointers.tolist(), rows.size) == ([0, 0, 0, 0], 0)


@pytest.mark.parametrize(
    ("pointers", "rows", "message"),
    [
        (
            [0, 1],
            [0],
            r"x must be .* the pointers 3 integers rising .* got int64 of shape \(2,\) for 1 item\.",
        ),
        ([0, 2, 1], [0], "rising"),
        ([0, 1, 1], [0, 1], "for 2 items"),
        ([1, 1, 1], [0], "from 0"),
        ([0.0, 1.0, 1.0], [0], "integers .* got float64"),
        ([0, 1, 2], [0, 4], "item rows in x must be 0 to 3, got 0 to 4"),
        ([0, 1, 2], [0, -1], "got -1 to 0"),
        ([0, 1, 2], [0.0, 1.0], "integers, one axis"),
        ([0, 1, 2], [[0], [1]], "integers, one axis"),
    ],
)
def test_what_are_no_lists(pointers, rows, message):
    with pytest.raises(DataError, match=message):
        check_lists("x", (np.array(pointers), np.array(rows)), 2, 4)


def test_items_that_users_come_back_to_are_there_once():
    lists = np.array([0, 1, 6]), np.array([9, 4, 7, 4, 2, 7], dtype=np.int32)
    labels = np.array([50, 1, 2, 8, 8, 3], dtype=np.float32)
    items, highest = distinct_items(lists, labels, 1)
    assert highest is not None
    assert (items.tolist(), highest.tolist()) == ([4, 2, 7], [8, 8, 3])
    items, none = distinct_items(lists, None, 1)
    assert (items.tolist(), none) == ([4, 7, 2], None)
