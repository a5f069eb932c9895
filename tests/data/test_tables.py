"""Files in: what is read from CSV, TSV and Parquet, and what is said of files that can't be."""

import datetime as dt
import gzip
import re
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.data.tables import column_names, read_dataset, read_table
from twotower.errors import ConfigError, DataError


def write(folder: Path, content: bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def columns_of(
    path: Path, columns: list[str] | None = None, **dtypes: pl.DataType
) -> dict[str, list[object]]:
    return read_table(path, columns, dtypes=dtypes).to_dict(as_series=False)


def refused(*parts: str) -> AbstractContextManager[object]:
    """Expect a DataError whose message has these parts in this order."""
    return pytest.raises(DataError, match="(?s)" + ".*".join(re.escape(part) for part in parts))


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
        (b"a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
        (b"\xef\xbb\xbfa,b\n1,x\n2,y", {"a": [1, 2], "b": ["x", "y"]}),
        (b'a,b\n1,"x\ry"\n2,z\n', {"a": [1, 2], "b": ["x\ry", "z"]}),
        (b'a,b\n1,"x\ny"\n2,z\n', {"a": [1, 2], "b": ["x\ny", "z"]}),
        (b'a,b\n1,"x ""y"", z"\n', {"a": [1], "b": ['x "y", z']}),
        (b"a,b\n1,\n,y\n", {"a": [1, None], "b": [None, "y"]}),
        (b"a,b\n1,x\n\n2,y\n\n\n", {"a": [1, 2], "b": ["x", "y"]}),
        (b"a,b\r\n1,x\r\n\r\n2,y\r\n\r\n", {"a": [1, 2], "b": ["x", "y"]}),
        (b'a,b\n1,"x"\n\n2,y\n', {"a": [1, 2], "b": ["x", "y"]}),
        (b"a\n1\n2\n", {"a": [1, 2]}),
        (b"a,b\r1,2\r3,4\r", {"a": [1, 3], "b": [2, 4]}),
        (b'a,b\r"two\nlines",x\r"u\rv",y', {"a": ["two\nlines", "u\nv"], "b": ["x", "y"]}),
        (b"a,b\n1,NaN\n", {"a": [1], "b": [pytest.approx(float("nan"), nan_ok=True)]}),
    ],
)
def test_csv(tmp_path: Path, content: bytes, want: dict[str, list[object]]) -> None:
    assert columns_of(write(tmp_path, content)) == want
    assert columns_of(write(tmp_path, gzip.compress(content), "t.csv.gz")) == want


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
def test_txt_finds_its_separator(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path, "a,b\n1,2\n".replace(",", separator).encode(), "t.txt")
    assert columns_of(path) == {"a": [1], "b": [2]}


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_csv_without_a_comma_in_its_header_is_read_too(tmp_path: Path, separator: str) -> None:
    """As spreadsheets save it where the comma is in numbers."""
    path = write(tmp_path, f"x{separator}y\n1{separator}2.5\n".encode())
    assert read_table(path).to_dict(as_series=False) == {"x": [1], "y": [2.5]}
    path = write(tmp_path, f"x{separator}z,y\n1{separator}2,5\n".encode())
    assert read_table(path).columns == [f"x{separator}z", "y"]
    assert read_table(write(tmp_path, b"x\n1\n")).columns == ["x"]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PAR1\x15\x04", "is not a complete Parquet file"),
        (b"PK\x03\x04\x14", r"can't be read \(File is not a zip file\)"),
        ("x,y\n1,2\n".encode("utf-16-le"), r"begins with zero bytes, as in UTF-16.*\[data\] encoding"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, start: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(write(tmp_path, start))


def test_a_row_for_a_header_is_suspected(tmp_path: Path) -> None:
    path = write(tmp_path, b"33,11,3.5\n5,22,3.25\n")
    with pytest.raises(
        DataError, match=r"the first line of .*t\.csv looks like a row, '33,11,3\.5'.*columns = \["
    ):
        read_table(path, ["user"])
    with pytest.raises(DataError) as failure:
        read_table(write(tmp_path, b"user,3\n1,2\n"), ["item"])
    assert "looks like a row" not in str(failure.value)


def test_tsv(tmp_path: Path) -> None:
    assert columns_of(write(tmp_path, b"a\tb\n1,5\tx\n", "t.tsv")) == {"a": ["1,5"], "b": ["x"]}


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b,c\n1,x,"2"\n3,y,4\n')
    assert read_table(path, ["c", "a", "c"]).columns == ["c", "a"]
    assert column_names(path) == ["a", "b", "c"]
    read_table(path).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", ["c", "a"]).to_dict(as_series=False) == {
        "c": [2, 4],
        "a": [1, 3],
    }
    assert column_names(tmp_path / "t.parquet") == ["a", "b", "c"]


def test_types_are_those_of_the_whole_file(tmp_path: Path) -> None:
    rows = b"1,1,,true,,\n" * 12_000 + b"1.5,x,7,false,0.5,False\n"
    frame = read_table(write(tmp_path, b"a,b,c,d,e,f\n" + rows))
    assert frame.dtypes == [pl.Float64, pl.String, pl.Int64, pl.Boolean, pl.Float64, pl.Boolean]
    # Without a contradiction the first rows decide; columns that were empty there are looked at again.
    frame = read_table(write(tmp_path, b"a,b,c\n" + b"1,,\n" * 12_000 + b"1,7,x\n"))
    assert frame.dtypes == [pl.Int64, pl.Int64, pl.String]


def test_long_integers_stay_exact(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b",1\n" * 12_000 + b"99999999999999999999,1\n")
    assert read_table(path).get_column("a")[-1] == "99999999999999999999"


def test_dtypes_are_obeyed(tmp_path: Path) -> None:
    types: dict[str, pl.DataType | type[pl.DataType]] = {
        "a": pl.String,
        "b": pl.Int32,
        "d": pl.Date,
        "m": pl.Datetime("ms"),
        "f": pl.Boolean,
        "x": pl.Float32,
    }
    moment = dt.datetime(2020, 7, 5, 1, 2, 3)
    want = {
        "a": ["007", "8"],
        "b": [1, 2],
        "d": [dt.date(2020, 7, 5), None],
        "m": [None, moment],
        "f": [True, False],
        "x": [0.5, 1],
    }
    # The "2.0" needs the slow path; both give the same.
    for two in (b"2", b"2.0"):
        rows = b"007,1,2020-07-05,,true,0.5\n8," + two + b",,2020-07-05 01:02:03,false,1\n"
        frame = read_table(write(tmp_path, b"a,b,d,m,f,x\n" + rows), dtypes={**types, "absent": pl.Int8})
        assert frame.schema == types
        assert frame.to_dict(as_series=False) == want
    with refused("can't be read as List"):
        read_table(tmp_path / "t.csv", dtypes={"a": pl.List(pl.Int8)})


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])), st.integers(0, 9)),
        min_size=1,
    )
)
def test_what_polars_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("law") / "t.csv"
    texts = [f"t{text}" for text, _ in rows]
    pl.DataFrame({"a": texts, "n": [n for _, n in rows]}).write_csv(path)
    assert columns_of(path, a=pl.String()) == {"a": texts, "n": [n for _, n in rows]}


# ---------------------------------------------------------------- what is refused


def test_missing_files_and_folders(tmp_path: Path) -> None:
    write(tmp_path, b"a\n1\n", "ratings.csv")
    with refused("there is no file", "rating.csv", "Did you mean 'ratings.csv'?"):
        read_table(tmp_path / "rating.csv")
    with refused("there is no file", "its folder", "doesn't exist either"):
        read_table(tmp_path / "nowhere" / "rating.csv")
    with refused("a folder must contain files of a table", "has none"):
        (tmp_path / "empty").mkdir()
        read_table(tmp_path / "empty")
    with refused("a table must be one of .csv, .tsv", "suffix '.xlsx'"):
        read_table(write(tmp_path, b"", "t.xlsx"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("t.csv is empty",)),
        (b"\n\n", ("t.csv is empty",)),
        (b"a,b\n", ("at least one row", "has only a header")),
        (b"a,b\n\n\n", ("at least one row",)),
        (b"a,b\n1,2\n3\n5,6\n", ("as many fields as the header (2)", "line 3, has 1: '3'", "cut short")),
        (b"a,b\n1,2\n3,4,5\n", ("as many fields as the header (2)", "line 3, has 3: '3,4,5'", "quotes")),
        (b'a,b\n"1\n1",2\n3\n', ("as many fields", "line 4, has 1")),
        (b'a,b\n"1\n1",2\n3,4,5\n', ("as many fields", "line 4, has 3")),
        (b'a,b\n1,"2\n3,4\n', ("quotes must be closed", "t.csv, line 2")),
        (b"a,b\n1,x\n2,caf\xe9\n", ("UTF-8", "line 3", "byte 0xe9 at 6")),
        (b"a,b,a\n1,2,3\n", ("names must be unique", "two columns 'a'")),
    ],
)
def test_damaged_csv(tmp_path: Path, content: bytes, parts: tuple[str, ...]) -> None:
    with refused(*parts):
        read_table(write(tmp_path, content))
    with refused(*(part.replace("t.csv", "t.csv.gz") for part in parts)):
        read_table(write(tmp_path, gzip.compress(content), "t.csv.gz"))


@pytest.mark.parametrize("line", [b"4,5", b"4,5,6,7"])
@pytest.mark.parametrize("quoted", [b"7,8,9", b'7,"8",9'])
def test_ragged_lines_are_seen_when_only_some_columns_are_read(
    tmp_path: Path, line: bytes, quoted: bytes
) -> None:
    path = write(tmp_path, b"a,b,c\n1,2,3\n" + line + b"\n" + quoted + b"\n")
    for columns in (["a"], ["a", "b"], ["c"], ["a", "c"]):
        with refused("as many fields as the header (3)", "line 3"):
            read_table(path, columns)


@pytest.mark.parametrize("sep", [",", "\t"])
@pytest.mark.parametrize(
    ("rows", "line", "fields"),
    [
        ("1,2,3\n4\n", 2, 3),
        ("4\n1,2,3\n", 2, 1),
        ("5,6\n" * 30 + "1,\n,\n1,2,3\n4", 34, 3),
        ("5,6\n" * 30 + "4\n1,2,3\n", 32, 1),
        ("1,The Good, the Bad\n2\n3,x\n", 2, 3),
    ],
)
def test_lines_that_make_up_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, line: int, fields: int, sep: str
) -> None:
    path = write(tmp_path, ("a,b\n" + rows).replace(",", sep).encode(), "t.csv" if sep == "," else "t.tsv")
    for block in (1, 5, 1 << 22):
        monkeypatch.setattr("twotower.data.quotes._BLOCK", block)
        for columns in (None, ["a"], ["b"], ["b", "a"]):
            with refused("every line must have as many fields", f"line {line}, has {fields}"):
                read_table(path, columns)


def test_empty_fields_are_no_short_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, b"# of May\na,b,c\n" + b"1,2,\n,,\n" * 20 + b"7,8,9")
    monkeypatch.setattr("twotower.data.delimited.DelimitedText.rows", None)  # the slow way is not needed
    for block in (1, 5, 1 << 22):
        monkeypatch.setattr("twotower.data.quotes._BLOCK", block)
        assert columns_of(path, ["a"])["a"] == [1, None] * 20 + [7]
        assert columns_of(path)["c"] == [None] * 40 + [9]
    assert columns_of(write(tmp_path, b"a,b\n1,2\n,\n"), ["a"])["a"] == [1, None]
    assert columns_of(write(tmp_path, b"a\n1\n\n"))["a"] == [1, None]


@pytest.mark.parametrize("content", [b'u,i\n"5"\n"6"\n', b'u,i,t\n"5",1\n6,2\n'])
def test_lines_that_are_all_too_short(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    for ids in ((), ("u", "i")):
        with refused("every line must have as many fields as the header", "line 2, has "):
            read_table(path, ids=ids)


def test_missing_column(tmp_path: Path) -> None:
    path = write(tmp_path, b"user_id,vido_id\n1,2\n")
    with refused("t.csv has no column 'video_id'", "Did you mean 'vido_id'?", "Columns: user_id, vido_id"):
        read_table(path, ["user_id", "video_id"])
    read_table(path).write_parquet(tmp_path / "t.parquet")
    with refused("t.parquet has no column 'video_id'", "Did you mean 'vido_id'?"):
        read_table(tmp_path / "t.parquet", ["video_id"])


def test_value_not_of_the_dtype(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,x\n2,"y\nz"\n3.5,w\n')
    for dtype, row, value in ((pl.Int32, 5, "'3.5'"), (pl.Boolean, 2, "'1'"), (pl.Date, 2, "'1'")):
        with refused(
            f"column 'a' must be {dtype}", f"t.csv, line {row}", f"has {value}", "Correct the value"
        ):
            read_table(path, dtypes={"a": dtype})
    pl.DataFrame({"a": [1.0, 2.5]}).write_parquet(tmp_path / "t.parquet")
    with refused("must be Int32", "2.5", "t.parquet, data row 2, column 'a'"):
        read_table(tmp_path / "t.parquet", dtypes={"a": pl.Int32})
    assert read_table(tmp_path / "t.parquet", dtypes={"a": pl.Float32}).dtypes == [pl.Float32]


def test_truncated_files(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with refused("t.parquet is not a complete Parquet file", "Write or fetch it again"):
            read_table(path)
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000)))
    for size in (12, len(packed) // 2, len(packed) - 5):
        with refused("t.csv.gz can't be read"):
            read_table(write(tmp_path, packed[:size], "t.csv.gz"))


def test_parquet_without_rows(tmp_path: Path) -> None:
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "t.parquet")
    with refused("at least one row", "t.parquet has none"):
        read_table(tmp_path / "t.parquet")


def test_names_with_wildcards_are_plain_names(tmp_path: Path) -> None:
    write(tmp_path, b"a\n1\n", "t1.csv")
    assert columns_of(write(tmp_path, b"a\n2\n", "t[1].csv")) == {"a": [2]}
    assert columns_of(tmp_path / "*.csv") == {"a": [1, 2]}


# ---------------------------------------------------------------- whole datasets

SCHEMA = {"label": "y", "duration": "seconds", "users": {"age": "number"}, "items": {"tags": "categories"}}


def test_read_dataset(tmp_path: Path) -> None:
    log = write(tmp_path, b"user_id,junk,item_id,y\n1,j,a,0.5\n2,j,b,1\n", "log.csv")
    users = write(tmp_path, b"user_id,age,junk\n1,30,j\n2,,j\n", "users.tsv".replace("tsv", "csv"))
    items = write(tmp_path, b'item_id,seconds,tags\na,7,"[1, 2]"\nb,8,[3]\n', "items.csv")
    data = read_dataset(log, users, items, schema=SCHEMA)
    assert data.interactions.columns == ["user_id", "item_id", "y"]
    assert data.users.to_dict(as_series=False) == {"user_id": [1, 2], "age": [30.0, None]}
    assert data.items.columns == ["item_id", "tags", "seconds"]
    assert data.items.get_column("tags").to_list() == [[1, 2], [3]]
    assert read_dataset(log, schema={"label": "y"}).items.get_column("item_id").to_list() == ["a", "b"]


def test_messages_of_read_dataset_name_the_file(tmp_path: Path) -> None:
    log = write(tmp_path, b"user_id,item_id,y\n1,a,0.5\n2,b,x\n", "log.csv")
    with refused("a label must be a finite number", "log.csv, data row 2, column 'y' has 'x'"):
        read_dataset(log, schema={"label": "y"})
    users = write(tmp_path, b"user_id,age\n1,30\n1,31\n", "users.csv")
    log.write_bytes(b"user_id,item_id,y\n1,a,0.5\n")
    with refused("an id must have at most one row (1 is in data rows 1 and 2)", "users.csv"):
        read_dataset(log, users, schema={"users": {"age": "number"}})
    with refused("users.csv has no column 'agee'", "Did you mean 'age'?"):
        read_dataset(log, users, schema={"users": {"agee": "number"}})


@pytest.mark.parametrize("encoding", ["utf-88", "rot13", "a\0b"])
def test_an_encoding_that_is_none(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id\n1,2\n")
    with pytest.raises(ConfigError, match=r"encoding must be one that Python knows, such as utf-8.*; got"):
        read_dataset(path, schema={}, encoding=encoding)


@pytest.mark.parametrize("block", [1, 3, 8, 1 << 22])
def test_numbers_in_quotes_are_found_wherever_a_file_is_cut_into_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("twotower.data.quotes._BLOCK", block)
    path = write(tmp_path, b'u,i,t\n1,"2","3\n"\n4,5,"x ""6"" ,7\n,8"\n"\n9",6,\n')
    # "2" is quoted, and so is "3 and a line end"; the 9 begins a line, not a field.
    assert read_table(path, ids=["u", "i", "t"]).to_dict(as_series=False) == {
        "u": ["1", "4", "\n9"],
        "i": ["2", "5", "6"],
        "t": ["3\n", 'x "6" ,7\n,8', None],
    }
    assert read_table(path).get_column("i").to_list() == [2, 5, 6]


def test_each_table_has_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nJörg,1\n", encoding="utf-8")
    (tmp_path / "items.csv").write_text("item_id,title\n1,Möbel\n", encoding="latin-1")
    schema = {"user": "user_id", "item": "item_id", "items": {"title": "text"}}
    paths = (tmp_path / "log.csv", None, tmp_path / "items.csv")
    data = read_dataset(*paths, schema=schema, encoding={"items": "latin-1"})
    assert data.interactions["user_id"].to_list() == ["Jörg"]
    assert data.items["title"].to_list() == ["Möbel"]
    with pytest.raises(ConfigError, match="got 'films'"):
        read_dataset(*paths, schema=schema, encoding={"films": "latin-1"})


@pytest.mark.parametrize("header", [True, False])
def test_a_cell_may_be_longer_than_the_csv_module_allows(tmp_path: Path, header: bool) -> None:
    path, title = tmp_path / "items.csv", "ab" * 100_000
    path.write_text(f"item_id,title\n1,{title}\n2,b\n"[0 if header else 14 :], encoding="utf-8")
    frame = read_table(path, names=None if header else ["item_id", "title"])
    assert frame["title"].to_list() == [title, "b"]
    path.write_bytes(path.read_bytes() + f"3,{title}".encode() + b"\xe9\n")
    with pytest.raises(DataError, match="column 'title', has the invalid byte 0xe9 at 200003"):
        read_table(path, names=None if header else ["item_id", "title"])


@pytest.mark.parametrize("packed", [False, True])
def test_utf8_that_is_said_to_be_another_encoding_is_warned_of(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "items.csv"
    for text, written, said in [
        ("Möbel", "utf-8", True),
        ("x" * 300_000 + "Möbel", "utf-8", True),
        ("Möbel", "latin-1", False),
        ("Tische", "utf-8", False),
    ]:
        content = f"item_id,title\n1,{text}\n".encode(written)
        path.write_bytes(gzip.compress(content) if packed else content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            title = read_table(path, encoding="latin-1")["title"].item()
        assert title == text.encode(written).decode("latin-1")
        expected = (
            f"{path} is read as latin-1, as [data] encoding says, but all of it is UTF-8: 'ö' is read as "
            "'Ã¶'. If that is wrong, leave encoding out, or give it by table"
        )
        assert {str(one.message) for one in caught} == ({expected} if said else set())
