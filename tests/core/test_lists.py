"""Lists of values by row: the laws of taking, cutting and filtering them, and which arrays are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.core.lists import Lists, distinct_items
from twotower.errors import DataError

GROUPS = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


def plain(lists):
    """The lists as Python lists, and their types."""
    assert (lists.indptr.dtype, lists.values.dtype) == (np.int64, np.int32)
    return [lists[row].tolist() for row in range(len(lists))]


@given(GROUPS)
def test_what_is_put_in_comes_out(groups):
    lists = Lists.from_groups(groups)
    assert plain(lists) == groups
    assert lists.lengths.tolist() == [len(group) for group in groups]
    assert lists.owners().tolist() == [row for row, group in enumerate(groups) for _ in group]
    assert plain(Lists(*lists.arrays)) == plain(Lists.from_lengths(lists.lengths, lists.values)) == groups


@given(GROUPS, st.randoms())
def test_pairs_in_any_order_become_lists_in_the_order_given(groups, random):
    pairs = [(row, value) for row, group in enumerate(groups) for value in group]
    random.shuffle(pairs)
    owners = np.array([row for row, _ in pairs], dtype=np.int64)
    values = np.array([value for _, value in pairs], dtype=np.int32)
    found = Lists.from_arrays(owners, values, len(groups))
    assert plain(found) == [[v for row, v in pairs if row == own] for own in range(len(groups))]


@given(GROUPS.filter(len), st.data())
def test_the_lists_of_some_rows(groups, data):
    lists = Lists.from_groups(groups)
    rows = data.draw(st.lists(st.sampled_from(range(len(groups))), max_size=8))
    assert plain(lists.of(np.array(rows, dtype=np.int64))) == [groups[row] for row in rows]
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(groups))] * 2)))
    assert plain(lists.between(first, last)) == groups[first:last]
    label = np.arange(len(lists.values))
    assert [label[lists.span(row)].tolist() for row in rows] == [
        [at for at, own in enumerate(lists.owners()) if own == row] for row in rows
    ]


@given(GROUPS, st.integers(0, 9))
def test_some_values_of_each_list(groups, bound):
    lists = Lists.from_groups(groups)
    kept = lists.values < bound
    assert plain(lists.where(kept)) == [[v for v in group if v < bound] for group in groups]


def test_a_tuple_of_arrays_is_a_name_of_old():
    with pytest.warns(DeprecationWarning, match=r"lists\.indptr and lists\.values, or lists\[row\]"):
        indptr, values = Lists.from_groups([[4, 2], []])
    assert (indptr.tolist(), values.tolist()) == ([0, 2, 2], [4, 2])


def test_only_a_few_lists_are_shown():
    assert repr(Lists.from_groups([[1]] * 9)) == "Lists([[1], [1], [1], [1], [1], ...])"


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_whole_numbers_of_any_kind_become_the_lists_types(kind):
    given_lists = np.array([0, 2, 2], dtype=kind), np.array([4, 0], dtype=kind)
    assert plain(Lists.check("x", given_lists, 2, 5)) == [[4, 0], []]
    assert plain(Lists.check("x", Lists(*given_lists), 2, 5)) == [[4, 0], []]


def test_no_items_are_lists():
    assert plain(Lists.check("x", Lists.empty(3), 3, 0)) == [[], [], []]


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
        Lists.check("x", (np.array(pointers), np.array(rows)), 2, 4)


def test_items_that_users_come_back_to_are_there_once():
    lists = Lists.from_groups([[9], [4, 7, 4, 2, 7]])
    labels = np.array([50, 1, 2, 8, 8, 3], dtype=np.float32)
    items, highest = distinct_items(lists, labels, 1)
    assert highest is not None
    assert (items.tolist(), highest.tolist()) == ([4, 2, 7], [8, 8, 3])
    items, none = distinct_items(lists, None, 1)
    assert (items.tolist(), none) == ([4, 7, 2], None)
