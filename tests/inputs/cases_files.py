"""Kinds of files, how they are put together, and rows that contradict each other."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from input_case import Case, Error
from twotower.audit import audit
from twotower.config import load_config
from twotower.data.dataset import Dataset
from twotower.data.duplicates import deduplicate
from twotower.data.splitting import Parts
from twotower.data.tables import read_dataset, read_table
from twotower.datasets.configured import cut, read_raw

CSV = "user_id,item_id,rating\n1,7,4\n2,8,5\n"
ROWS = {"user_id": [1, 2], "item_id": [7, 8], "rating": [4, 5]}


def table(path: str, **options: Any) -> Callable[[Path], dict[str, list[Any]]]:
    return lambda folder: read_table(folder / path, **options).to_dict(as_series=False)


def data(
    interactions: str, users: str | None = None, items: str | None = None, **options: Any
) -> Callable[[Path], Dataset]:
    schema = {"label": "rating", **options.pop("schema", {})}

    def read(folder: Path) -> Dataset:
        sides = (None if name is None else folder / name for name in (users, items))
        return read_dataset(folder / interactions, *sides, schema=schema, **options)

    return read


def labels(read: Callable[[Path], Dataset], repeats: str = "max") -> Callable[[Path], list[Any]]:
    return lambda folder: deduplicate(read(folder), repeats).interactions["rating"].to_list()


def told(read: Callable[[Path], Dataset]) -> Callable[[Path], list[str]]:
    return lambda folder: [note.split(":")[0] for note in deduplicate(read(folder)).notes]


def items_of(read: Callable[[Path], Dataset]) -> Callable[[Path], dict[str, list[Any]]]:
    return lambda folder: read(folder).items.to_dict(as_series=False)


def parts(folder: Path) -> Parts:
    config = load_config(folder / "c.toml")
    return cut(config, read_raw(config))


def part_labels(folder: Path) -> list[list[float]]:
    found = parts(folder)
    return [part.interactions["rating"].to_list() for part in (found.train, found.validation, found.test)]


def errors(folder: Path) -> list[str]:
    """What `twotower check` calls an error about rows that are there twice."""
    found = audit(load_config(folder / "c.toml")).findings
    return [one.what for one in found if one.severity == "error" and one.check == "duplicates"]


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("r.csv", CSV)


def parquet(**columns: list[Any]) -> Callable[[Path], None]:
    return lambda path: pl.DataFrame(columns).write_parquet(path)


def not_utf8(path: Path) -> None:
    """A Parquet file whose strings are Latin-1."""
    offsets = pa.array([0, 4, 5], pa.int32()).buffers()[1]
    title = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"caf\xe9x"))
    pa.parquet.write_table(pa.table({"user_id": [1, 2], "item_id": [7, 8], "title": title}), path)


def sheet(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "")


VIEWS = "user_id,item_id,rating,ts\n1,7,0,1625000000\n1,7,1,1625000000\n2,8,0,1625000001\n2,8,0,1625000002\n"
TIMED = {"schema": {"timestamp": "ts"}}
LOG = 'interactions = "r.csv"\n[schema]\nlabel = "rating"\ntimestamp = "ts"\n'
FEW = "".join(f"{n % 7},{n % 11},{n % 2},{n}\n" for n in range(60))
MANY_VIEWS = "user_id,item_id,rating,ts\n" + "1,1,0,1625000000\n1,1,1,1625000000\n" + FEW
MERGED = "user_id,age,item_id,title,rating\n1,30,7,A,4\n2,31,7,A,5\n1,30,8,B,3\n2,,8,B,2\n"
RIDING = {"schema": {"users": {"age": "number"}, "items": {"title": "category"}}}
NAMED = "user_id,item_id,rating,split\n1,7,4,train\n2,8,5,test\n3,8,1,Train\n4,7,2,valid\n"
COLUMN = '[data]\ninteractions = "r.csv"\n[schema]\nlabel = "rating"\n[split]\ncolumn = "split"\n'

CASES = [
    # ------------------------------------------------ rows that contradict each other
    Case("an impression and its click", {"r.csv": VIEWS}, labels(data("r.csv", **TIMED)), [1, 0, 0]),
    *[
        Case(
            f"an impression and its click, {rule}",
            {"r.csv": VIEWS},
            labels(data("r.csv", **TIMED), rule),
            want,
        )
        for rule, want in {
            "first": [0, 0, 0],
            "last": [1, 0, 0],
            "mean": [0.5, 0, 0],
            "sum": [1, 0, 0],
            "refuse": Error(
                "must not contradict", "data rows 1 and 2", "(user_id 1, item_id 7) have 0 and 1"
            ),
        }.items()
    ],
    Case(
        "contradicting rows are told",
        {"r.csv": VIEWS},
        told(data("r.csv", **TIMED)),
        ["2 rows of 1 event (same user, item, timestamp) differ in their rating"],
    ),
    Case(
        "the order of contradicting rows does not matter",
        {"r.csv": "user_id,item_id,rating,ts\n1,7,1,5\n1,7,0,5\n1,7,1,5\n"},
        labels(data("r.csv", **TIMED)),
        [1],
    ),
    Case(
        "repeat consumption stays",
        {"r.csv": "user_id,item_id,rating,ts\n1,7,1,5\n1,7,1,6\n1,7,0,7\n"},
        labels(data("r.csv", **TIMED)),
        [1, 1, 0],
    ),
    Case(
        "a rating given twice, without times",
        {"r.csv": "user_id,item_id,rating\n1,7,2\n1,7,5\n2,7,3\n"},
        labels(data("r.csv")),
        [5, 3],
    ),
    Case(
        "plays without times are summed, equal ones too",
        {"r.csv": "user_id,item_id,rating\n1,7,2\n1,7,2\n1,7,5\n"},
        labels(data("r.csv"), "sum"),
        [9],
    ),
    Case(
        "an unknown rule",
        {"r.csv": CSV},
        labels(data("r.csv"), "newest"),
        Error("repeats must be one of max"),
    ),
    Case("check with the default", {"r.csv": MANY_VIEWS, "c.toml": f"[data]\n{LOG}"}, errors, []),
    Case(
        "check where positives would be lost",
        {"r.csv": MANY_VIEWS, "c.toml": f'[data]\nrepeats = "first"\n{LOG}'},
        errors,
        ["positives are lost: data.repeats = 'first' turns them into negatives"],
    ),
    Case(
        "check where contradicting rows are refused",
        {"r.csv": MANY_VIEWS, "c.toml": f'[data]\nrepeats = "refuse"\n{LOG}'},
        errors,
        ["rows contradict each other, and data.repeats = 'refuse' makes this an error"],
    ),
    Case(
        "an unknown rule in the config",
        {"c.toml": f'[data]\nrepeats = "lasst"\n{LOG}'},
        parts,
        Error("'data.repeats' must be one of", "Did you mean 'last'?"),
    ),
    # ------------------------------------------------ quotes
    Case(
        "a lone quote in a field",
        {"a.csv": 'id,title\n5,the 5" disk\n6,x\n'},
        table("a.csv"),
        {"id": [5, 6], "title": ['the 5" disk', "x"]},
    ),
    Case(
        "two lone quotes in two rows",
        {"a.csv": 'id,title\n5,the 5" disk\n6,a 3" one\n7,"a, b"\n'},
        table("a.csv"),
        {"id": [5, 6, 7], "title": ['the 5" disk', 'a 3" one', "a, b"]},
    ),
    Case(
        "quotes in a field",
        {"a.tsv": 'id\ttitle\n5\tthe "best" of\n6\t"all"\n'},
        table("a.tsv"),
        {"id": [5, 6], "title": ['the "best" of', "all"]},
    ),
    Case(
        "text after a closing quote",
        {"a.csv": 'id,title\n5,x\n6,"the" best\n'},
        table("a.csv"),
        Error("quotes must be closed", "a.csv, line 3"),
    ),
    Case(
        "a quote that is never closed",
        {"a.csv": 'id,title\n5,x\n6,"the best\n7,y\n'},
        table("a.csv"),
        Error("quotes must be closed", "a.csv, line 3"),
    ),
    Case(
        "two lone quotes that would swallow a row",
        {"a.csv": 'id,title\n5,"abc\n6,def"\n7,x\n'},
        table("a.csv"),
        Error("ambiguous quote", "a.csv, line 2"),
    ),
    Case(
        "a field of two lines",
        {"a.csv": 'id,title,n\n5,"abc\ndef",1\n6,"x",2\n'},
        table("a.csv"),
        {"id": [5, 6], "title": ["abc\ndef", "x"], "n": [1, 2]},
    ),
    Case(
        "quotes escaped by a backslash",
        {"a.csv": '"id";"title"\n"5";"the \\"best\\"; of"\n"6";"x"\n'},
        table("a.csv"),
        {"id": [5, 6], "title": ['the "best"; of', "x"]},
    ),
    Case(
        "a space before a quoted field",
        {"a.csv": 'id, title\n5, "a, b"\n6, "c"\n'},
        table("a.csv"),
        {"id": [5, 6], "title": ["a, b", "c"]},
    ),
    # ------------------------------------------------ lines, spaces, headers
    Case("an empty file", {"a.csv": ""}, table("a.csv"), Error("a.csv is empty")),
    Case("lines that end in CR", {"a.csv": CSV.replace("\n", "\r")}, table("a.csv"), ROWS),
    Case("lines that end in CR LF", {"a.csv": CSV.replace("\n", "\r\n")}, table("a.csv"), ROWS),
    Case("blank lines", {"a.csv": "\n\n" + CSV.replace("\n", "\n\n")}, table("a.csv"), ROWS),
    Case("comments above the header", {"a.csv": "# made by hand\n# today\n" + CSV}, table("a.csv"), ROWS),
    Case("a comment with commas above the header", {"a.csv": "# a, b, c\n" + CSV}, table("a.csv"), ROWS),
    Case("a header that is a comment", {"a.csv": "# by hand\n# " + CSV}, table("a.csv"), ROWS),
    Case("lines that end in a separator", {"a.csv": CSV.replace("\n", ",\n")}, table("a.csv"), ROWS),
    Case(
        "rows that end in a separator",
        {"a.csv": "user_id,item_id,rating\n1,7,4,\n2,8,5,\n"},
        table("a.csv"),
        ROWS,
    ),
    Case(
        "one row that ends in a separator",
        {"a.csv": "user_id,item_id,rating\n1,7,4\n2,8,5,\n"},
        table("a.csv"),
        Error("as many fields as the header (3)", "line 3", "has 4"),
    ),
    Case("spaces around names and values", {"a.csv": CSV.replace(",", " , ")}, table("a.csv"), ROWS),
    Case(
        "spaces around ids that are text",
        {"a.csv": "user_id, item_id\nu1, i1\nu2, i2\n"},
        table("a.csv"),
        {"user_id": ["u1", "u2"], "item_id": ["i1", "i2"]},
    ),
    Case("a name twice", {"a.csv": "a,b,a\n1,2,3\n"}, table("a.csv"), Error("two columns 'a'", "Rename one")),
    Case(
        "a name twice but for spaces", {"a.csv": "a,b, a\n1,2,3\n"}, table("a.csv"), Error("two columns 'a'")
    ),
    Case(
        "the index that pandas writes",
        {"a.csv": ",user_id,item_id\n0,1,7\n1,2,8\n"},
        table("a.csv"),
        {"Unnamed: 0": [0, 1], "user_id": [1, 2], "item_id": [7, 8]},
    ),
    Case(
        "no header",
        {"a.csv": "1,7,4,1625000000\n2,8,5,1625000001\n"},
        table("a.csv"),
        Error("the first line of", "looks like a row, '1,7,4,1625000000'", "columns = [...]"),
    ),
    Case(
        "no header, ids that are text",
        {"a.csv": "u1,i7,4\nu2,i8,5\n"},
        table("a.csv"),
        Error("looks like a row, 'u1,i7,4'"),
    ),
    Case(
        "no header, and names for the columns",
        {"a.csv": "u1,i7,4\nu2,i8,5\n"},
        table("a.csv", names=["user", "item", "rating"]),
        {"user": ["u1", "u2"], "item": ["i7", "i8"], "rating": [4, 5]},
    ),
    Case(
        "no header, and too few names",
        {"a.csv": "u1,i7,4\nu2,i8,5\n"},
        table("a.csv", names=["user", "item"]),
        Error("3 fields per line, got 2 names (user, item)"),
    ),
    Case(
        "names for the columns of a file that has them",
        {"a.csv": CSV},
        table("a.csv", names=["user_id", "item_id", "rating"]),
        ROWS,
    ),
    Case(
        "years are names above text",
        {"a.csv": "name,2019,2020\nann,a,b\nbob,c,d\n"},
        table("a.csv"),
        {"name": ["ann", "bob"], "2019": ["a", "c"], "2020": ["b", "d"]},
    ),
    Case(
        "no header in a config",
        {
            "r.csv": "1,7,4\n2,8,5\n3,8,1\n4,7,2\n",
            "c.toml": '[data]\ninteractions = "r.csv"\ncolumns = ["user_id", "item_id", "rating"]\n'
            '[schema]\nlabel = "rating"\n[split]\ntest = 0.25\nvalidation = 0.25\n',
        },
        lambda folder: sorted(label for part in part_labels(folder) for label in part),
        [1, 2, 4, 5],
    ),
    # ------------------------------------------------ encodings
    Case("UTF-8 with a mark", {"a.csv": b"\xef\xbb\xbf" + CSV.encode()}, table("a.csv"), ROWS),
    Case("UTF-16", {"a.csv": CSV.encode("utf-16")}, table("a.csv"), ROWS),
    Case("UTF-32", {"a.csv": CSV.encode("utf-32")}, table("a.csv"), ROWS),
    Case(
        "UTF-16 without a mark",
        {"a.csv": CSV.encode("utf-16-le")},
        table("a.csv"),
        Error("zero bytes", "encoding"),
    ),
    Case(
        "Latin-1",
        {"a.csv": "id,title\n5,x\n6,café\n".encode("latin-1")},
        table("a.csv"),
        Error("UTF-8", "a.csv, line 3, column 'title'", "0xe9", "encoding"),
    ),
    Case(
        "Latin-1 that is said to be",
        {"a.csv": "id,title\n5,x\n6,café\n".encode("latin-1")},
        table("a.csv", encoding="latin-1"),
        {"id": [5, 6], "title": ["x", "café"]},
    ),
    Case(
        "an unknown encoding",
        {"c.toml": f'[data]\nencoding = "latin1000"\n{LOG}'},
        parts,
        Error("'data.encoding'", "must be an encoding such as utf-8, latin-1"),
    ),
    Case(
        "an encoding of an unknown table",
        {"c.toml": f'[data]\nencoding = {{ films = "latin-1" }}\n{LOG}'},
        parts,
        Error("'data.encoding'", "must be for interactions, users or items, got 'films'"),
    ),
    Case(
        "an encoding of users without a table of them",
        {"c.toml": f'[data]\nencoding = {{ users = "latin-1" }}\n{LOG}'},
        parts,
        Error("encoding has one for users, and there is no table of users; leave it out, or set data.users"),
    ),
    Case(
        "a number for an encoding",
        {"c.toml": f"[data]\nencoding = {{ interactions = 3 }}\n{LOG}"},
        parts,
        Error("'data.encoding': must be an encoding such as", "got 3 for interactions"),
    ),
    Case(
        "Parquet that is not UTF-8",
        {"a.parquet": not_utf8},
        table("a.parquet"),
        Error("UTF-8", "column 'title'"),
    ),
    Case(
        "a label of bytes",
        {"r.parquet": parquet(user_id=[1, 2], item_id=[7, 8], rating=[b"4", b"5"])},
        labels(data("r.parquet")),
        Error("r.parquet", "column 'rating'", "bytes"),
    ),
    Case(
        "an id of bytes",
        {"r.parquet": parquet(user_id=[b"\xff", b"b"], item_id=[7, 8], rating=[4, 5])},
        labels(data("r.parquet")),
        Error("r.parquet", "column 'user_id'", "bytes"),
    ),
    Case(
        "a display column of bytes",
        {"r.csv": CSV, "i.parquet": parquet(item_id=[7, 8], cover=[b"\xff", b"b"])},
        items_of(data("r.csv", None, "i.parquet", schema={"display": ["cover"]})),
        Error("i.parquet", "column 'cover'", "bytes"),
    ),
    Case(
        "a category of bytes",
        {"r.csv": CSV, "i.parquet": parquet(item_id=[7, 8], kind=[b"\xff", b"b"])},
        items_of(data("r.csv", None, "i.parquet", schema={"items": {"kind": "category"}})),
        Error("i.parquet", "column 'kind'", "bytes"),
    ),
    # ------------------------------------------------ compression and formats
    Case("gzip", {"a.csv.gz": gzip.compress(CSV.encode())}, table("a.csv.gz"), ROWS),
    Case("bzip2", {"a.csv.bz2": bz2.compress(CSV.encode())}, table("a.csv.bz2"), ROWS),
    Case("xz", {"a.csv.xz": lzma.compress(CSV.encode())}, table("a.csv.xz"), ROWS),
    Case("zstd", {"a.csv.zst": pa.compress(CSV.encode(), "zstd", asbytes=True)}, table("a.csv.zst"), ROWS),
    Case("a zip of one file", {"a.csv.zip": zipped}, table("a.csv.zip"), ROWS),
    Case(
        "a spreadsheet", {"a.csv": sheet}, table("a.csv"), Error("is a spreadsheet", "Save the sheet as CSV")
    ),
    Case("gzip without its suffix", {"a.csv": gzip.compress(CSV.encode())}, table("a.csv"), ROWS),
    Case("Parquet without its suffix", {"a.csv": parquet(**ROWS)}, table("a.csv"), ROWS),
    Case(
        "half a bzip2 file",
        {"a.csv.bz2": bz2.compress(CSV.encode() * 99)[:-9]},
        table("a.csv.bz2"),
        Error("a.csv.bz2 can't be read"),
    ),
    Case(
        "half a zstd file",
        {"a.csv.zst": pa.compress(CSV.encode() * 99, "zstd", asbytes=True)[:-9]},
        table("a.csv.zst"),
        Error("a.csv.zst"),
    ),
    Case(
        "JSON lines",
        {"a.jsonl": '{"user_id": 1, "tags": ["a", "b"]}\n\n{"user_id": 2, "rating": 4.5}\n'},
        table("a.jsonl"),
        {"user_id": [1, 2], "tags": [["a", "b"], None], "rating": [None, 4.5]},
    ),
    Case(
        "packed JSON lines",
        {"a.json.gz": gzip.compress(b'{"user_id": 1}\n{"user_id": 2}\n')},
        table("a.json.gz"),
        {"user_id": [1, 2]},
    ),
    Case("an array of JSON", {"a.json": '[{"a": 1}, {"a": 2}]'}, table("a.json"), {"a": [1, 2]}),
    Case(
        "JSON ids past 64 bits",
        {"a.ndjson": '{"a": 99999999999999999999}\n{"a": 7}\n'},
        table("a.ndjson"),
        {"a": ["99999999999999999999", "7"]},
    ),
    Case(
        "half a line of JSON",
        {"a.jsonl": '{"a": 1}\n{"a": \n'},
        table("a.jsonl"),
        Error("a.jsonl, line 2", "is invalid"),
    ),
    Case(
        "a line of JSON that is no record",
        {"a.jsonl": '{"a": 1}\n[1]\n'},
        table("a.jsonl"),
        Error("a.jsonl, line 2, is [1]"),
    ),
    Case(
        "a JSON column of two types",
        {"a.jsonl": '{"a": true}\n{"a": 3}\n'},
        table("a.jsonl"),
        Error("column 'a' is true or false in line 1 and a number in line 2"),
    ),
    # ------------------------------------------------ parts
    Case(
        "a folder of CSV parts",
        {
            "r/part-10.csv": "a,b\n3,z\n",
            "r/part-2.csv": "b,a\ny,2\n",
            "r/_SUCCESS": "",
            "r/.part-2.csv.crc": "x",
        },
        table("r"),
        {"b": ["y", "z"], "a": [2, 3]},
    ),
    Case(
        "a folder of Parquet parts",
        {"r/0.parquet": parquet(a=[1]), "r/1.parquet": parquet(a=[2.5])},
        table("r"),
        {"a": [1.0, 2.5]},
    ),
    Case(
        "a folder with folders of days",
        {
            "r/day=2020-07-05/0.parquet": parquet(a=[1]),
            "r/day=2020-07-06/0.parquet": parquet(a=[2]),
            "r/day=__HIVE_DEFAULT_PARTITION__/0.parquet": parquet(a=[3]),
        },
        table("r"),
        {"a": [1, 2, 3], "day": ["2020-07-05", "2020-07-06", None]},
    ),
    Case(
        "a folder with folders of numbers",
        {"r/year=2020/0.csv": "a\n1\n", "r/year=2021/0.csv": "a\n2\n"},
        table("r", columns=["year"]),
        {"year": [2020, 2021]},
    ),
    Case(
        "a pattern",
        {"r1.csv": "a\n1\n", "r2.csv": "a\n2\n", "x.csv": "a\n9\n"},
        table("r*.csv"),
        {"a": [1, 2]},
    ),
    Case(
        "a pattern that fits nothing",
        {"x.csv": "a\n9\n"},
        table("r*.csv"),
        Error("no file that matches", "r*.csv"),
    ),
    Case(
        "parts with numbers here and text there",
        {"r/0.csv": "a\n007\n", "r/1.csv": "a\nB7\n"},
        table("r"),
        {"a": ["007", "B7"]},
    ),
    Case(
        "Parquet parts of two types",
        {"r/0.parquet": parquet(a=[1]), "r/1.parquet": parquet(a=["x"])},
        table("r"),
        Error("one type in all files", "column 'a'", "0.parquet has a number, 1", "1.parquet has text, 'x'"),
    ),
    Case(
        "a folder of different tables",
        {"r/items.csv": "item_id,title\n7,A\n", "r/ratings.csv": CSV},
        table("r"),
        Error("must have the same columns", "items.csv has 'title' and", "ratings.csv does not"),
    ),
    Case(
        "a part that lacks a column",
        {"r/0.csv": "a,b\n1,2\n", "r/1.csv": "a\n1\n"},
        table("r", columns=["b"]),
        Error("1.csv has no column 'b'"),
    ),
    Case(
        "an empty part",
        {"r/0.csv": "a\n", "r/1.csv": "a\n1\n", "r/2.csv": ""},
        table("r", columns=["a"]),
        {"a": [1]},
    ),
    Case(
        "parts of two kinds",
        {"r/0.csv": "a\n1\n", "r/1.parquet": parquet(a=[2])},
        table("r"),
        Error("must have one type", ".csv, .parquet"),
    ),
    # ------------------------------------------------ how tables are put together
    Case(
        "id columns of other names",
        {"r.csv": "userId,movieId,rating\n1,7,4\n2,8,5\n", "i.csv": "id,title\n8,B\n7,A\n"},
        items_of(
            data(
                "r.csv",
                None,
                "i.csv",
                schema={
                    "user": "userId",
                    "item": "movieId",
                    "items_id": "id",
                    "items": {"title": "category"},
                },
            )
        ),
        {"movieId": [8, 7], "title": ["B", "A"]},
    ),
    Case(
        "an id column that is not there",
        {"r.csv": CSV, "u.csv": "userId,age\n1,30\n"},
        items_of(data("r.csv", "u.csv", schema={"users_id": "usrId", "users": {"age": "number"}})),
        Error("u.csv has no column 'usrId'", "Did you mean 'userId'?"),
    ),
    Case(
        "features in the interactions",
        {"r.csv": MERGED},
        lambda folder: (
            data("r.csv", **RIDING)(folder).users.rows(),
            data("r.csv", **RIDING)(folder).items.rows(),
            data("r.csv", **RIDING)(folder).interactions.columns,
        ),
        ([(1, 30.0), (2, 31.0)], [(7, "A"), (8, "B")], ["user_id", "item_id", "rating"]),
    ),
    Case(
        "features in the interactions that change",
        {"r.csv": MERGED.replace("1,30,8", "1,32,8")},
        data("r.csv", **RIDING),
        Error(
            "one value per id", "r.csv, column 'age' of user_id 1 is 30 in data row 1 and 32 in data row 3"
        ),
    ),
    Case(
        "features that are nowhere",
        {"r.csv": CSV},
        data("r.csv", **RIDING),
        Error("the schema names columns of users (age)"),
    ),
    Case(
        "a column that names the parts",
        {"r.csv": NAMED, "c.toml": COLUMN},
        part_labels,
        [[4, 1], [2], [5]],
    ),
    Case(
        "a column that names the parts in its own words",
        {
            "r.csv": NAMED.replace("test", "2")
            .replace("valid", "1")
            .replace("Train", "0")
            .replace("train", "0"),
            "c.toml": f'{COLUMN}train = "0"\nvalidation = "1"\ntest = "2"\n',
        },
        part_labels,
        [[4, 1], [2], [5]],
    ),
    Case(
        "a column that names an unknown part",
        {"r.csv": NAMED.replace("valid", "holdout"), "c.toml": COLUMN},
        parts,
        Error("column 'split' of the interactions is 'holdout' in data row 4", "[split]"),
    ),
    Case(
        "a column that names no test rows",
        {"r.csv": NAMED.replace("test", "train"), "c.toml": COLUMN},
        parts,
        Error("column 'split' has train", "the test set is empty"),
    ),
    Case(
        "a column that names the parts, and a share",
        {"r.csv": NAMED, "c.toml": f"{COLUMN}test = 0.2\n"},
        parts,
        Error("takes the test rows from 'split'"),
    ),
    Case(
        "a column that names the parts, and another method",
        {"r.csv": NAMED, "c.toml": f'{COLUMN}method = "temporal"\n'},
        parts,
        Error("column is for method 'column', not 'temporal'"),
    ),
]
