"""Ids to rows: the laws of looking up, whatever type the ids come in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twotower.core.vocabulary import SHARE, Vocabulary, rows_of_ids

WHOLE = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 99), unique=True, max_size=12)
TEXT = st.lists(st.text("0123456789-+ abé.", max_size=4), unique=True, max_size=12)
ANY = st.integers(-9, 99) | st.text("0123456789-+ abé.", max_size=4) | st.sampled_from([7.0, 7.5, -0.0, True])


def series(ids):
    return pl.Series(ids, dtype=pl.Int64 if all(isinstance(one, int) for one in ids) else pl.String)


@given(WHOLE | TEXT, st.data())
def test_rows_of_ids_are_their_rows(ids, data):
    known = Vocabulary(series(ids))
    rows = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1)) if ids else st.just([])), dtype=np.int64)
    found = known.rows(known.ids.gather(rows))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, rows)
    assert [known.row(ids[row]) for row in rows] == rows.tolist()


@given(WHOLE | TEXT)
def test_numbers_are_found_as_text_and_back(ids):
    known = Vocabulary(series(ids))
    np.testing.assert_array_equal(known.rows(known.ids.cast(pl.String)), np.arange(len(ids)))
    if known.whole:
        as_text = Vocabulary(known.ids.cast(pl.String))
        np.testing.assert_array_equal(as_text.rows(known.ids), np.arange(len(ids)))


@given(WHOLE | TEXT, ANY)
@example([0, 1], True)
@example(["true", "1"], True)
@example(["7", "7.0"], 7.0)
def test_one_id_is_found_as_many_are(ids, one):
    known = Vocabulary(series(ids))
    (row,) = known.rows(pl.Series([one])).tolist()
    assert known.row(one) == (row if row >= 0 else None)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Int16, pl.String])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_few_of_many_ids_are_found_as_each_is(dtype, shuffled):
    ids = pl.Series(range(0, 20 * SHARE, 2), dtype=pl.Int64).cast(dtype).sort()
    ids = ids.sample(fraction=1.0, shuffle=True, seed=0) if shuffled else ids
    known, singly = Vocabulary(ids), Vocabulary(ids)
    given = ["1", "0", None, "1998", "1999", "-2", "2000", "998"]
    for asked in (pl.Series(given), pl.Series(given).cast(pl.Int64)):
        found = [-1 if one is None else singly.index.get(singly.native(one), -1) for one in given]
        assert known.rows(asked).tolist() == found
        assert known.rows(pl.concat([asked] * 9)).tolist() == found * 9  # more than a few


@pytest.mark.parametrize(
    ("known", "asked", "rows"),
    [
        ([7, 14], ["7", "07", "+7", "7.0", " 7", "14", None], [0, -1, -1, -1, -1, 1, -1]),
        ([7, 14], [7.0, 7.5, 14.0, float("nan")], [0, -1, 1, -1]),
        ([0, 1], [True, False], [-1, -1]),
        (["7", "07"], [7, 14], [0, -1]),
        (["7", "7.0"], [7.0], [0]),
        (["a"], ["A", "a", ""], [-1, 0, -1]),
    ],
)
def test_what_is_the_same_id(known, asked, rows):
    assert Vocabulary(pl.Series(known)).rows(pl.Series(asked)).tolist() == rows


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_many_ids_are_found_as_few_are(dtype):
    """A few are looked up one at a time, many by a join."""
    rng = np.random.default_rng(0)
    known = Vocabulary(pl.Series(rng.permutation(500)).cast(dtype))
    asked = pl.Series(rng.integers(-50, 600, 300)).cast(pl.String)
    few = np.concatenate([known.rows(part) for part in (asked[at : at + 10] for at in range(0, 300, 10))])
    assert known.rows(asked).tolist() == few.tolist()
    assert (few < 0).sum() == (asked.cast(pl.Int64).is_between(0, 499).not_()).sum()


def test_distinct_ids_are_ascending_and_no_nulls():
    assert Vocabulary.distinct(pl.Series(["b", None, "a", "b"])).ids.to_list() == ["a", "b"]


def test_values_of_ids():
    known = Vocabulary(pl.Series([5, 3]))
    assert known.take(np.array([0.5, 0.25]), pl.Series([3, 4, 5]), np.nan).tolist()[::2] == [0.25, 0.5]
    assert known.take(np.array([2, 1]), pl.Series(["3", "x"]), 0).tolist() == [1, 0]


def test_rows_of_a_table_in_the_order_of_ids():
    table = pl.DataFrame({"user": ["1", "x", "3"], "age": [10, 20, 30]})
    found = rows_of_ids(table, "user", pl.Series([3, 4, 1]))
    assert found.rows() == [(3, 30), (4, None), (1, 10)]
