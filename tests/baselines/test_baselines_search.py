"""Coordinate ascent: finds the maximum, evaluates each point once, and reports ranges that are too short."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.baselines.search import Ladder, climb


def ladder(n, start=0, **options):
    return Ladder(tuple(range(n)), start, **options)


@given(st.data())
def test_the_summit_of_a_hill_is_found_from_anywhere(data):
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    starts = [data.draw(st.integers(0, n - 1)) for n in sizes]
    summit = [data.draw(st.integers(0, n - 1)) for n in sizes]
    strides = data.draw(st.sampled_from([(1,), (2, 1), (3, 1)]))
    ladders = {
        str(i): ladder(n, at, strides=strides) for i, (n, at) in enumerate(zip(sizes, starts, strict=True))
    }
    asked = []

    def worth(point):
        asked.append(tuple(point.values()))
        return -sum((value - best) ** 2 for value, best in zip(point.values(), summit, strict=True))

    found = climb(ladders, worth)
    assert list(found.point.values()) == summit
    assert found.worth == 0
    assert len(asked) == len(set(asked)) == found.tried
    open_ends = [str(i) for i, (n, at) in enumerate(zip(sizes, summit, strict=True)) if at in (0, n - 1)]
    assert list(found.at_edge) == open_ends


def test_settings_that_depend_on_each_other_are_gone_round_again():
    """The best value of one setting depends on the other; a single pass would stop too early."""
    found = climb(
        {"a": ladder(9), "b": ladder(9, 5)}, lambda p: -((p["a"] - p["b"]) ** 2) - 2 * (p["b"] - 7) ** 2
    )
    assert found.point == {"a": 7, "b": 7}


def test_a_choice_without_an_order_tries_every_value():
    worth = dict(zip("abcd", (1.0, 0.0, 0.5, 2.0), strict=True))
    found = climb({"x": Ladder(tuple("abcd"), ordered=False)}, lambda point: worth[point["x"]])
    assert (found.point, found.tried, found.at_edge) == ({"x": "d"}, 4, ())


@pytest.mark.parametrize("ordered", [True, False])
def test_of_equal_worth_the_first_tried_is_kept(ordered):
    assert climb({"x": ladder(5, 2, ordered=ordered)}, lambda point: 0.0).point == {"x": 2}


def test_a_closed_end_is_no_edge():
    for closed, sign in itertools.product([(True, False), (False, True), (True, True)], (1, -1)):
        found = climb({"x": ladder(4, 1, closed=closed)}, lambda point, sign=sign: sign * point["x"])
        assert found.point["x"] == (3 if sign > 0 else 0)
        assert found.at_edge == (() if closed[sign > 0] else ("x",))


def test_without_settings_there_is_one_point():
    assert climb({}, lambda point: 3.0).worth == 3.0
