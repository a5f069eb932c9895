"""Ids keep their text: what is written is what is read, in every kind of file."""

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.core.id_text import as_known, canonical
from twotower.data.tables import read_dataset

ID = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"\A[+-]?0{0,2}[0-9]{1,4}(\.0)?\Z"),
    st.from_regex(r"\A[a-z0-9]{1,6}\Z"),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ID, min_size=1, max_size=8), st.booleans())
def test_text_in_is_text_out(ids: list[str], quoted: bool) -> None:
    """But that a column of pandas' floats is integers."""
    if all(canonical(pl.Series([x.removesuffix(".0")]))[0] for x in ids):
        want = [x.removesuffix(".0") if not quoted else x for x in ids]
    else:
        want = ids
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        mark = '"' if quoted else ""
        path.write_text("user_id,item_id\n" + "".join(f"{mark}{x}{mark},1\n" for x in ids))
        read = read_dataset(path, schema={}).interactions.get_column("user_id")
    assert read.cast(pl.String).to_list() == want


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_integers_are_known_as_text_and_as_numbers(ids: list[int]) -> None:
    text = pl.Series([str(x) for x in ids], dtype=pl.String)
    assert as_known(text, pl.Int64()).to_list() == ids
    assert as_known(pl.Series(ids, dtype=pl.Int64), pl.String()).to_list() == text.to_list()


def test_other_spellings_of_an_integer_are_not_it() -> None:
    odd = pl.Series(["007", "+7", "7.0", " 7", "-0", "9223372036854775808", ""])
    assert as_known(odd, pl.Int64()).null_count() == len(odd)
    assert as_known(pl.Series([7.0, 7.5, None]), pl.String()).to_list() == ["7", "7.5", None]
