"""`Interval` is a number to everything that calculates, and shows its bounds to whoever looks."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import polars as pl
import pytest

from twotower.metrics import Interval

measured = Interval(0.3542, 0.3461, 0.3617)


def test_it_is_its_value_wherever_a_number_is_needed():
    assert float(measured) == 0.3542
    assert type(float(measured)) is float
    assert f"{measured:.2f}|{measured:>8.3f}|{measured:.1%}" == "0.35|   0.354|35.4%"
    assert round(measured, 2) == 0.35
    assert measured > 0.35
    assert measured < 0.36
    assert measured == 0.3542
    assert measured < Interval(0.4, 0.1, 0.9), "by value, however wide"
    assert max(measured, Interval(0.1, 0.0, 0.9)) is measured
    assert measured - Interval(0.3, 0.2, 0.4) == pytest.approx(0.0542)
    assert np.mean([measured, measured]) == pytest.approx(0.3542)
    assert pl.Series([measured]).dtype == pl.Float64
    assert json.dumps({"ndcg": measured}) == '{"ndcg": 0.3542}'


def test_two_are_equal_only_with_their_bounds():
    same, wider = Interval(0.3542, 0.3461, 0.3617), Interval(0.3542, 0.3, 0.4)
    assert measured == same
    assert hash(measured) == hash(same)
    assert measured != wider
    assert {measured, same, wider} == {measured, wider}


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (measured, "0.354 [0.346, 0.362]"),
        (Interval(-0.0048, -0.0101, 0.0003), "-0.005 [-0.010, 0.000]"),
        (Interval(12.31, 12.1, 12.5), "12.31 [12.10, 12.50]"),
        (Interval(123_456.7, 120_000.0, 130_000.0), "123457 [120000, 130000]"),
        (Interval(2e-9, 1e-9, 3e-9), "2e-09 [1e-09, 3e-09]"),
        (Interval(0.5, math.nan, math.nan), "0.5"),
        (Interval(math.nan, math.nan, math.nan), "nan"),
        (Interval(1.0, 1.0, 1.0), "1 [1, 1]"),
    ],
)
def test_text_has_the_decimals_that_the_width_warrants(interval, text):
    assert repr(interval) == str(interval) == f"{interval}" == text


def test_copies_keep_the_bounds_and_nothing_changes_them():
    for made in (copy.copy(measured), copy.deepcopy(measured), pickle.loads(pickle.dumps(measured))):
        assert (made.value, made.low, made.high) == (0.3542, 0.3461, 0.3617)
    with pytest.raises(AttributeError):
        measured.low = 0.0
