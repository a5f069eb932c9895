"""Numbers as people write them: what is written comes back, and what does not fit is refused by row."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.config.schema import Reading
from twotower.core.where import Unreadable
from twotower.data.number_text import looks_like_numbers, read_numbers

AMOUNTS = st.lists(st.integers(-(10**9), 10**9).map(lambda n: n / 100), min_size=1, max_size=20)


@given(AMOUNTS, st.sampled_from(["", " €", " min", "%"]))
def test_amounts_with_two_places_come_back(amounts: list[float], unit: str) -> None:
    english = [f"{x:,.2f}{unit}" for x in amounts]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    for spelled in (english, german):
        assert read_numbers(pl.Series(spelled)).values.to_list() == pytest.approx(amounts)


@given(AMOUNTS)
def test_a_declared_mark_reads_single_values_alike(amounts: list[float]) -> None:
    for x in amounts:
        cell = pl.Series([f"{x:.3f}".replace(".", ",")])
        assert read_numbers(cell, Reading(decimal=",")).values[0] == pytest.approx(x)


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (["12 min", "1 h", "3 min"], 1),
        (["2,5", "3,5", "2.5"], 2),
        (["5", "5%", "6"], 1),
        (["1", "abc"], 1),
        (["2019-10-01", "2020-10-01"], 0),
        (["1,234", "2,450"], 0),
        (["A12", "A13"], 0),
    ],
)
def test_what_does_not_fit_is_refused_by_row(values: list[str], row: int) -> None:
    with pytest.raises(Unreadable) as caught:
        read_numbers(pl.Series(values))
    assert caught.value.row == row
    assert looks_like_numbers(pl.Series(values)) is None


def test_words_for_missing_are_counted() -> None:
    found = read_numbers(pl.Series(["1,5", "NA", "", None, "-", "2"]))
    assert found.values.to_list() == [1.5, None, None, None, None, 2.0]
    assert found.missing == 2
