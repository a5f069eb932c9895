"""Batches of a table, put together, are the table that is read whole."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.data.streaming.source import TableSource
from twotower.data.tables import read_table
from twotower.errors import DataError

COLUMNS = st.sampled_from(
    [
        (pl.Int64, st.integers(-9, 10**16)),
        (pl.Int8, st.integers(0, 9)),
        (pl.Float64, st.floats(-9, 9)),
        (pl.Float64, st.integers(0, 9).map(float)),
        (pl.Float32, st.just(1.5)),
        (pl.String, st.sampled_from(["", "7", "é"])),
        (pl.Boolean, st.booleans()),
        (pl.Categorical, st.sampled_from(["a", "b"])),
        (pl.List(pl.Int64), st.lists(st.integers(0, 9), max_size=2)),
        (pl.Null, st.none()),
    ]
)
FILES = st.lists(st.tuples(COLUMNS, COLUMNS, st.integers(0, 9)), min_size=1, max_size=3)


def same(path: Path, rows: int, **how: object) -> None:
    """Check that batches are what `read_table` returns, or both refuse."""
    try:
        whole = read_table(path, **how)  # type: ignore[arg-type]
    except DataError as error:
        columns = how.pop("columns", None)
        with pytest.raises(type(error)):
            list(TableSource(path, **how).batches(columns, rows=rows))  # type: ignore[arg-type]
        return
    columns = how.pop("columns", None)
    source = TableSource(path, **how)  # type: ignore[arg-type]
    batches = list(source.batches(columns, rows=rows))  # type: ignore[arg-type]
    assert_frame_equal(pl.concat([batch.frame for batch in batches]), whole)
    assert all(0 < batch.frame.height <= rows for batch in batches)
    firsts: dict[str, int] = {}
    for batch in batches:
        assert batch.first == firsts.get(batch.file, 0)
        firsts[batch.file] = batch.first + batch.frame.height
    assert source.rows() in (None, whole.height)


@settings(max_examples=30, deadline=None, phases=[Phase.generate])
@given(
    data=st.data(),
    files=FILES,
    rows=st.integers(1, 4),
    groups=st.integers(1, 5),
    dtypes=st.sampled_from([{}, {"a": pl.String}, {"a": pl.Int64}]),
    columns=st.sampled_from([None, ["b", "a"], ["p"]]),
)
def test_batches_of_parquet_files_are_the_table(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    files: list,
    rows: int,
    groups: int,
    dtypes: dict,
    columns: list[str] | None,
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    for number, ((a, cells), (b, others), height) in enumerate(files):
        frame = pl.DataFrame(
            {
                name: pl.Series(
                    data.draw(st.lists(values | st.none(), min_size=height, max_size=height)), dtype=dtype
                )
                for name, dtype, values in (("a", a, cells), ("b", b, others))
            }
        )
        part = folder / f"p={number}"
        part.mkdir()
        frame.write_parquet(part / "0.parquet", row_group_size=groups)
    same(folder, rows, dtypes=dtypes, columns=columns)
