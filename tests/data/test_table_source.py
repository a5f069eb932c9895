"""Batches of a table, put together, are the table that is read whole."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.data.streaming import row_blocks
from twotower.data.streaming.source import TableSource
from twotower.data.tables import read_table
from twotower.errors import DataError

CELLS = st.sampled_from(
    [
        *("", "7", "12", "-3", "007", "1.0", "2.5", "1e5", " 4", "x", "true", "False", "nan", " y ", "é"),
        *("99999999999999999999", "1234567890123456", "a, b", 'the 5" disk', "two\nlines"),
    ]
)
LIKE = st.lists(CELLS, min_size=1, max_size=4, unique=True).map(st.sampled_from)
"""The values of a column: often of one kind."""
TABLES = st.tuples(LIKE, LIKE).flatmap(
    lambda two: st.lists(st.lists(st.tuples(*two), max_size=7), min_size=1, max_size=3)
)
HOW = st.fixed_dictionaries(
    {
        "columns": st.sampled_from([None, ["b", "a"], ["p"]]),
        "dtypes": st.sampled_from([{}, {}, {"a": pl.String}, {"a": pl.Float64}]),
        "ids": st.sampled_from([[], ["a"], ["a", "b"]]),
    }
)

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


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
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


def text_of(rows: list, quotes: str, end: str, blank: bool, last: bool) -> str:
    """Return the text of a CSV file: fields in quotes always, where needed, or never."""

    def cell(value: str) -> str:
        bare = quotes == "never" or (quotes == "needed" and not set(value) & set(',"\n'))
        return value if bare else '"' + value.replace('"', '""') + '"'

    lines = ["a,b", *(",".join(cell(value) for value in row) for row in rows)]
    if blank:
        lines.insert(len(lines) // 2 + 1, "")
    return end.join(lines) + (end if last else "")


def written(folder: Path, number: int, content: bytes, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    part = folder / f"p={number}"
    part.mkdir()
    (part / f"t{suffix}").write_bytes(pack(content))


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    table=TABLES,
    quotes=st.sampled_from(["always", "needed", "needed", "never"]),
    end=st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    blank=st.booleans(),
    last=st.booleans(),
    pack=st.sampled_from([bytes, gzip.compress, lambda text: text.decode().encode("utf-16")]),
    rows=st.integers(1, 4),
    how=HOW,
)
def test_batches_of_text_files_are_the_table(
    tmp_path_factory: pytest.TempPathFactory,
    table: list,
    quotes: str,
    end: str,
    blank: bool,
    last: bool,
    pack: Callable[[bytes], bytes],
    rows: int,
    how: dict,
) -> None:
    folder = tmp_path_factory.mktemp("text")
    for number, part in enumerate(table):
        text = text_of(part, quotes, end, blank, last)
        written(folder, number, text.encode(), ".csv", pack)
    same(folder, rows, **how)


VALUES = st.sampled_from([1, 2.5, "x", "7", True, None, 10**20, [1], ["x"], [], {"b": 1}, {"c": 2.5}])
RECORDS = st.lists(VALUES, min_size=1, max_size=2, unique_by=repr).map(st.sampled_from)


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    table=RECORDS.flatmap(lambda one: st.lists(st.lists(one, max_size=7), min_size=1, max_size=3)),
    keys=st.lists(st.sampled_from("ab"), min_size=7, max_size=7),
    array=st.booleans(),
    rows=st.integers(1, 4),
    how=HOW,
)
def test_batches_of_json_lines_are_the_table(
    tmp_path_factory: pytest.TempPathFactory, table: list, keys: list[str], array: bool, rows: int, how: dict
) -> None:
    folder = tmp_path_factory.mktemp("json")
    for number, part in enumerate(table):
        records = [json.dumps({key: value, "k": 1}) for key, value in zip(keys, part, strict=False)]
        text = f"[{','.join(records)}]" if array else "\n".join([*records, ""])
        written(folder, number, text.encode(), ".json", bytes)
    if how["columns"] != ["p"]:  # which columns that are not read must be right is not promised
        same(folder, rows, **how)


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(
    table=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["7", "8", "007", "x"]),
                st.sampled_from(["1", "2.5", ""]),
                st.sampled_from(["", "3 4", "x 5"]),
                st.sampled_from(["", "1.5 2"]),
            ),
            max_size=5,
        ),
        min_size=1,
        max_size=3,
    ),
    rows=st.integers(1, 4),
    columns=st.sampled_from([None, ["s", "t"]]),
)
def test_batches_of_recbole_files_are_the_table(
    tmp_path_factory: pytest.TempPathFactory, table: list, rows: int, columns: list[str] | None
) -> None:
    folder = tmp_path_factory.mktemp("recbole")
    for number, part in enumerate(table):
        lines = ["t:token\tf:float\ts:token_seq\tn:float_seq", *("\t".join(row) for row in part), ""]
        written(folder, number, "\n".join(lines).encode(), ".inter", bytes)
    same(folder, rows, columns=columns)


def test_a_code_in_a_later_block_makes_the_ids_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("user,y\n" + "1,2\n" * 9 + "007,2.5\n")
    batches = list(TableSource(path, ids=["user"]).batches(["user", "y"], rows=3))
    assert [batch.frame.dtypes for batch in batches] == [[pl.String, pl.Float64]] * 4
    assert batches[-1].frame.rows() == [("007", 2.5)]
    assert [batch.first for batch in batches] == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("name", "content", "dtypes", "said"),
    [
        ("t.csv", "a,b\n1,2\n1,2\n1,2\n1\n", {}, "t.csv, line 5, has 1: '1'"),
        ("t.csv", 'a,b\n1,2\n1,2\n1,"x"y"\n', {}, "t.csv, line 4"),
        ("t.csv", "a,b\n1,2\n1,2\n1,2\n1,\udce9\n", {}, "t.csv, line 5, column 'b', has the invalid byte"),
        ("t.csv", "a,b\n1,2\n\n1,2\n1,x\n", {"b": pl.Int64}, "t.csv, line 5, has 'x'"),
        ("t.jsonl", '{"a":1}\n{"a":1}\n{"a":1}\n{"a":}\n', {}, "t.jsonl, line 4, is invalid"),
        ("t.jsonl", '{"a":1}\n{"a":1}\n{"a":"x"}\n', {"a": pl.Int64}, "data row 3, column 'a' has 'x'"),
    ],
)
def test_faults_in_a_later_block_are_named(
    tmp_path: Path, name: str, content: str, dtypes: dict, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1" if "\udce9" not in content else "utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=re.escape(said)):
        list(TableSource(path, dtypes=dtypes).batches(rows=2))


def test_blocks_have_a_size_whatever_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_blocks, "_BYTES", 40)
    frame = pl.DataFrame({"a": range(50), "b": ["two\nlines", "one"] * 25})
    frame.write_csv(tmp_path / "t.csv")
    batches = list(TableSource(tmp_path / "t.csv").batches())
    assert len(batches) > 5
    assert_frame_equal(pl.concat([batch.frame for batch in batches]), frame)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "1\n" * 9)
    batches = TableSource(path).batches(rows=3)
    next(batches)
    path.write_text("a\n1\n")
    with pytest.raises(DataError, match="must not change while it is read"):
        list(batches)


@pytest.mark.parametrize("row", ["\ufeffx,y", "\r\r", ' "a b",1'])
def test_a_block_that_begins_oddly_is_read_like_the_whole(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_bytes(f"a,b\n1,2\n1,2\n{row}\n1,2\n".encode())
    same(tmp_path / "t.csv", 1)
    same(tmp_path / "t.csv", 2)
