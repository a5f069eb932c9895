"""Ids that are asked about together: each is found as it is alone, whatever the others are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twotower.core.asked import as_series
from twotower.core.vocabulary import Vocabulary

WHOLE = st.integers(-9, 99) | st.integers(-(2**63), 2**63 - 1)
TEXT = st.text("0123456789-+ abé.", max_size=4)
FLOATS = st.integers(-9, 99).map(float) | st.floats() | st.sampled_from([7.5, -0.0, 2.0**53, 2.0**63])
ONE = WHOLE | TEXT | FLOATS | st.booleans() | st.none() | FLOATS.map(np.float64) | WHOLE.map(np.int64)
BIG = 2**53 + 1


@given(st.lists(WHOLE, unique=True) | st.lists(TEXT | WHOLE.map(str), unique=True), st.data())
@example([BIG - 1, BIG, 7], None)
def test_a_mixed_list_is_its_members_asked_alone(ids: list[int] | list[str], data: st.DataObject | None):
    known = Vocabulary(pl.Series(ids, dtype=pl.Int64 if ids and isinstance(ids[0], int) else pl.String))
    own = st.sampled_from(ids) if ids else st.none()
    asked = [BIG, 7.0] if data is None else data.draw(st.lists(ONE | own))
    alone = [int(known.rows(as_series([one]))[0]) for one in asked]
    assert known.rows(as_series(asked)).tolist() == alone
    assert known.rows(as_series(pl.Series(asked, dtype=pl.Object))).tolist() == alone


@pytest.mark.parametrize(
    ("asked", "dtype", "values"),
    [
        ([BIG, 7.0], pl.Int64, [BIG, 7]),
        ([3.0, "4", None], pl.String, ["3", "4", None]),
        ([25.5, 4], pl.String, ["25.5", "4"]),
        ([2.0, 3.5], pl.Float64, [2.0, 3.5]),
        ([2**63, -1], pl.Int128, [2**63, -1]),
        (["7.0", 7.0], pl.String, ["7.0", "7"]),
    ],
)
def test_the_type_of_ids_together(asked: list[object], dtype: pl.DataType, values: list[object]):
    found = as_series(asked)
    assert found.dtype == dtype
    assert found.to_list() == values
