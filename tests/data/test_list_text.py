"""Lists in any usual spelling, and the evidence for a separator."""

import json
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twotower.core.where import Found, Where
from twotower.data.list_text import combinations, find_separator, split_cell
from twotower.features.categories import Categories

TAGS = ["Action", "Comedy", "Drama", "Horror", "Romance", "War"]
TAG = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)


def rows(separator: str, parts: list[str], n: int = 200) -> pl.Series:
    draw = random.Random(1)
    return pl.Series([separator.join(sorted(draw.sample(parts, draw.choice([1, 2, 3])))) for _ in range(n)])


@pytest.mark.parametrize("separator", ["|", ";", "; ", ",", ", ", "/", "\n", "\t", "、"])
def test_a_separator_is_found_by_its_parts(separator: str) -> None:
    assert find_separator(rows(separator, TAGS)) == separator
    assert find_separator(rows(separator, TAGS), declared=True) == separator


def test_names_with_commas_are_no_lists() -> None:
    draw = random.Random(0)
    places = pl.Series([f"City {draw.randrange(300)}, State {draw.randrange(50)}" for _ in range(1000)])
    assert find_separator(places) is None
    assert find_separator(places, declared=True) is None
    assert find_separator(pl.Series(["1,5", "2,5", "1,2", "5,2"])) is None


def test_combinations_are_told_from_single_tags() -> None:
    assert combinations(TAGS) is None
    found = combinations(rows(", ", TAGS).unique())
    assert found is not None
    assert found[0] == ","
    assert found[1] > 0.5


@given(st.lists(TAG, max_size=5))
@example(['"', "0"])
@example(["a\\", '"', '\\"'])
def test_json_comes_back(tags: list[str]) -> None:
    assert split_cell(json.dumps(tags), None) == tags


@given(st.lists(st.sampled_from(["a", "b c", "it's", "x, y", "é"]), min_size=1, max_size=5))
def test_numpy_and_python_come_back(tags: list[str]) -> None:
    assert split_cell(repr(tags), None) == tags
    assert split_cell(str(np.array(tags)), None) == tags
    assert split_cell(repr(tuple(tags)), None, "[(") == tags
    assert sorted(split_cell(repr(set(tags)), None, "[{")) == sorted(set(tags))


@given(st.lists(st.lists(st.integers(-99, 99), max_size=4), min_size=1, max_size=6))
def test_whole_numbers_in_every_spelling_are_the_same(lists: list[list[int]]) -> None:
    for spell in (json.dumps, lambda row: str(np.array(row, dtype=int)), lambda row: str(tuple(row)), repr):
        cells = pl.Series("x", [spell(row) for row in lists])
        found = Categories().read(cells, Where("t", "x"), Found())
        assert found.cast(pl.List(pl.Int64)).to_list() == lists


def test_values_with_a_comma_that_stay_whole_are_noted() -> None:
    found = Found()
    Categories().read(pl.Series("x", ["Portland, Oregon", "Austin, Texas"]), Where("t", "x"), found)
    assert len(found.notes) == 1
    assert "are read as one tag each, such as 'Portland, Oregon'" in found.notes[0]
    assert found.settings == {}
