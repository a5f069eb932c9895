"""Laws of tables in parts, of whatever packing: the parts read are the whole read."""

import gzip
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.data.table_files import files_of_table, parts_in, table_files
from twotower.data.tables import column_names, read_dataset, read_table
from twotower.errors import DataError

TEXTS = st.sampled_from(["", "007", "true", "x", 'the 5" disk', "a, b", "1e5", "é"])
FRACTIONS = st.one_of(st.integers(-9, 10**14).map(str), st.floats(-1e6, 1e6, width=32).map(str), TEXTS)
LONG = st.one_of(st.integers(-9, 10**20).map(str), TEXTS.filter(lambda text: text != "1e5"))
# A column of long whole numbers and fractions is made of floats or strings as its first rows are; ids aside.
ROWS = st.sampled_from([FRACTIONS, LONG]).flatmap(
    lambda cells: st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=12)
)


def written(rows: list[list[str]], header: bool = True) -> bytes:
    text = "a,b,c\n" if header else ""
    for row in rows:
        text += ",".join('"' + cell.replace('"', '""') + '"' if cell else "" for cell in row) + "\n"
    return text.encode()


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    cuts=st.lists(st.integers(0, 12), min_size=1, max_size=3),
)
def test_parts_read_are_the_whole_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "whole.csv").write_bytes(written(rows))
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for number, (start, end) in enumerate(pairwise(edges)):
        (folder / f"part-{number}.csv").write_bytes(written(rows[start:end]))
    assert_frame_equal(read_table(folder / "part-*.csv"), read_table(folder / "whole.csv"))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_packing_and_names_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("packed")
    content = written(rows)
    (folder / "t.csv").write_bytes(content)
    (folder / "t.csv.gz").write_bytes(gzip.compress(content))
    (folder / "t.csv.zst").write_bytes(pa.compress(content, "zstd", asbytes=True))
    (folder / "u.csv").write_bytes(content.decode().encode("utf-16"))
    (folder / "n.csv").write_bytes(written(rows, header=False))
    want = read_table(folder / "t.csv")
    for name in ("t.csv.gz", "t.csv.zst", "u.csv"):
        assert_frame_equal(read_table(folder / name), want)
    assert_frame_equal(read_table(folder / "n.csv", names=["a", "b", "c"]), want)


@pytest.mark.parametrize("quoted", [True, False])
def test_a_lone_quote_changes_its_own_cell_alone(tmp_path: Path, quoted: bool) -> None:
    """Also where the file is longer than a block that is counted at a time."""
    n = 300_000
    frame = pl.DataFrame({"id": range(n), "title": ["abcdefgh, ij" if quoted else "abcdefgh"] * n})
    text = io.StringIO()
    frame.write_csv(text)
    path = tmp_path / "t.csv"
    path.write_text(text.getvalue().replace("\n299998,", '\n299998,5" ', 1).replace('5" "', '5" '), "utf-8")
    if quoted:
        path.write_text(text.getvalue() + f'{n},the 5" disk\n', "utf-8")
    read = read_table(path)
    if quoted:
        assert_frame_equal(read[:n], frame)
        assert read["title"][-1] == 'the 5" disk'
    else:
        assert read["title"][299998] == '5" abcdefgh'
        assert_frame_equal(read[:299998], frame[:299998])
        assert read.height == n


def test_files_of_a_table(tmp_path: Path) -> None:
    for name in (
        "day=1/h=2/p-10.csv",
        "day=1/h=2/p-9.csv",
        "day=%C3%A9/h=2/p.csv",
        "other/p.csv",
        ".x/p.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\n1\n")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "notes.md").write_text("")
    found = files_of_table(tmp_path)
    assert [(part.path.name, dict(part.partition)) for part in found] == [
        ("p-9.csv", {"day": "1", "h": "2"}),
        ("p-10.csv", {"day": "1", "h": "2"}),
        ("p.csv", {"day": "é", "h": "2"}),
    ]
    assert parts_in(tmp_path) == found
    assert table_files(tmp_path) == []
    assert column_names(tmp_path) == ["a", "day", "h"]
    assert read_table(tmp_path, ["h", "a"]).rows() == [(2, 1)] * 3
    assert read_table(tmp_path / "day=1").to_dict(as_series=False) == {"a": [1, 1], "h": [2, 2]}
    assert column_names(tmp_path / "day=*" / "h=2" / "*.csv") == ["a", "day", "h"]
    assert len(files_of_table(tmp_path / "**" / "*.csv")) == 4
    with pytest.raises(DataError, match="there is no file"):
        files_of_table(tmp_path / "day=3")


def test_a_partition_that_the_files_have_too_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "a=9").mkdir()
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "a=9" / "0.parquet")
    assert read_table(tmp_path).rows(named=True) == [{"a": 1, "b": 2}]


PIECES = st.sampled_from(
    [
        *(b"a", b"b", b"1", b",", b"\n", b'"', b"\r", b" ", b"#", b"\xe9", b"\0", b".5", b";", b"\t"),
        *(b'\\"', b'{"a":1}', b"[", b"007", b"\xef\xbb\xbf", b"\xff\xfe", b"a,b\n1,x\n", b"PAR1"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=25),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet", ".inter"]),
    pack=st.sampled_from([bytes, gzip.compress, lambda content: gzip.compress(content)[:-5]]),
)
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    suffix: str,
    pack: Callable[[bytes], bytes],
) -> None:
    path = tmp_path_factory.mktemp("any") / f"t{suffix}"
    path.write_bytes(pack(b"".join(pieces)))
    for columns in (None, ["a"]):
        said = ""
        try:
            frame = read_table(path, columns)
        except DataError as error:
            said = str(error)
        assert str(path) in said if said else frame.height


def test_narrow_whole_numbers_fit_the_fractions_of_another_file(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}, schema={"a": pl.Int8}).write_parquet(tmp_path / "0.parquet")
    pl.DataFrame({"a": [0.5]}).write_parquet(tmp_path / "1.parquet")
    assert read_table(tmp_path)["a"].to_list() == [1.0, 0.5]


def test_a_partition_that_is_the_last_column_of_the_files_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "a=9").mkdir()
    pl.DataFrame({"b": [2], "a": [1]}).write_parquet(tmp_path / "a=9" / "0.parquet")
    assert read_table(tmp_path).rows(named=True) == [{"b": 2, "a": 1}]


def test_an_empty_array_is_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("[]")
    (tmp_path / "1.json").write_text('[{"a": 1e20}]')
    assert read_table(tmp_path, ["a"], dtypes={"a": pl.String})["a"].to_list() == ["1e+20"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("label", None, "needs a label"), ("label", float("inf"), "finite"), ("weight", -1.0, "0 or more")],
)
def test_a_value_that_is_wrong_is_named_by_its_file_and_the_row_there(
    tmp_path: Path, column: str, value: float | None, said: str
) -> None:
    rows = pl.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "label": [1.0, 2.0, 3.0], "weight": 1.0})
    rows.write_parquet(tmp_path / "p0.parquet")
    wrong = rows.with_columns(
        pl.when(pl.col("user") == 2).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )
    wrong.write_parquet(tmp_path / "p1.parquet")
    schema = {"user": "user", "item": "item", "label": "label", "weight": "weight"}
    with pytest.raises(DataError, match=rf"{said}.*p1.parquet, data row 2.*rop the row") as caught:
        read_dataset(tmp_path, schema=schema)
    assert "leave it empty" not in str(caught.value)
    (tmp_path / "p0.parquet").unlink()  # one file is named as well
    with pytest.raises(DataError, match=rf"{said}.*p1.parquet, data row 2"):
        read_dataset(tmp_path, schema=schema)
