"""How a column of a delimited file is read depends on its own values, wherever they stand, and on no other
column."""

import datetime as dt
import math
from pathlib import Path

import polars as pl
import pytest

from twotower.data import delimited
from twotower.data.tables import read_table

Values = list[object]
BESIDE = {
    "text": ["x", "y"],
    "codes": ["007", "8"],
    "signs": ["+1", "2"],
    "long": ["12345678901234567890", "5"],
    "late_text": ["1", "x"],
    "quotes": ['"a,b"', '"c ""d"""'],
    "lone_quotes": ['5" disk', "y"],
    "spaces": [" 1", "2"],
}


@pytest.mark.parametrize("is_id", [False, True], ids=["feature", "id"])
@pytest.mark.parametrize(
    ("written", "want", "as_id"),
    [
        (["1", "2", " 1"], [1, 2, 1], None),
        (["1 ", "2", "1"], [1, 2, 1], None),
        (["1", "\t2"], [1, 2], None),
        (["1", " 007"], ["1", "007"], None),
        (["a", " a"], ["a", " a"], None),
        ([" a", " b"], ["a", "b"], None),
        ([" 1.5", "2"], [1.5, 2.0], None),
        (["1e5", " 2"], [1e5, 2.0], ["1e5", "2"]),
        (["007", "8"], ["007", "8"], None),
        (["1", "+7"], ["1", "+7"], None),
        (["1", "", "3"], [1, None, 3], None),
        (["1234567890123456789", "5"], [1234567890123456789, 5], None),
        (["-9223372036854775808", "5"], [-(2**63), 5], None),
        (["9223372036854775808", "5"], ["9223372036854775808", "5"], None),
        (["1.5", "1234567890123456"], [1.5, 1234567890123456.0], ["1.5", "1234567890123456"]),
        (["1.5", "12345678901234567890"], [1.5, 12345678901234567890.0], ["1.5", "12345678901234567890"]),
        (["1.5", "nan"], ["1.5", "nan"], None),
        (["1.5", "NAN"], ["1.5", "NAN"], None),
        (["1.5", "Infinity"], ["1.5", "Infinity"], None),
        (["1.5", "inf"], [1.5, math.inf], None),
        (["1.5", "-inf"], [1.5, -math.inf], None),
        (["1e400", "1"], [math.inf, 1.0], ["1e400", "1"]),
        (["1\r", "2"], [1, 2], None),
        (["1", "  ", "2"], [1, None, 2], None),
        (["1", '""', "2"], [1, None, 2], None),
        (["x", "", " "], ["x", None, " "], None),
        (["true", "False"], [True, False], None),
        (["true", "tRUe"], [True, True], None),
    ],
)
def test_a_column_is_read_by_its_own_values(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_id: bool,
    written: list[str],
    want: Values,
    as_id: Values | None,
) -> None:
    expected = pl.Series("a", as_id if is_id and as_id is not None else want)
    path = tmp_path / "t.csv"
    for values, right in ((written, expected), (written[::-1], expected.reverse())):
        for beside in BESIDE.values():
            others = [beside[min(row, 1)] for row in range(len(values))]
            rows = [f"{one},{other}\n" for one, other in zip(values, others, strict=True)]
            path.write_text("a,b\n" + "".join(rows), newline="")
            for sample in (1, 10_000):
                monkeypatch.setattr(delimited, "_SAMPLE", sample)
                got = read_table(path, ids=("a",) if is_id else ()).get_column("a")
                case = (values, others, sample)
                assert (case, got.dtype, got.to_list()) == (case, right.dtype, right.to_list())


@pytest.mark.parametrize("is_id", [False, True], ids=["feature", "id"])
@pytest.mark.parametrize(
    "written",
    [
        ["1", "2", "1e5", "3"],
        ["1e5", "2e5", "3", "4"],
        ["1", " 2", "1e5", "3"],
        ["1", "2", "007", "3"],
        ["1", "2", "a", " b"],
        ["1", "2", "1.0", "2.5"],
        ["9223372036854775807", "1", "1.0", ""],
        ["9223372036854775808", "1", "1.5", "2"],
        ["true", "false", "1", "2"],
        ["1", "2", "nan", "3"],
    ],
)
def test_files_of_a_table_are_read_as_one_file_is(tmp_path: Path, written: list[str], is_id: bool) -> None:
    ids = ("a",) if is_id else ()
    for values in (written, written[::-1], [written[at] for at in (0, 2, 1, 3)]):
        rows = [f"{value},x\n" for value in values]
        for name, own in (("one/t.csv", rows), ("two/a.csv", rows[:2]), ("two/b.csv", rows[2:])):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("a,b\n" + "".join(own))
        whole, parts = (read_table(tmp_path / name, ids=ids).get_column("a") for name in ("one", "two"))
        assert (values, parts.dtype, parts.to_list()) == (values, whole.dtype, whole.to_list())


@pytest.mark.parametrize(
    ("dtype", "written", "want"),
    [
        (pl.Int64, [" 1", "2 ", "3"], [1, 2, 3]),
        (pl.Int64, ['""', "2.0", " "], [None, 2, None]),
        (pl.Float64, ['""', " 1.5", "Infinity"], [None, 1.5, math.inf]),
        (pl.Boolean, ['""', " true", "FALSE"], [None, True, False]),
        (pl.Date, ['""', " 2020-07-05", ""], [None, dt.date(2020, 7, 5), None]),
        (pl.String, ['""', " 1", "x"], ["", " 1", "x"]),
    ],
)
def test_values_of_a_given_dtype(
    tmp_path: Path, dtype: type[pl.DataType], written: list[str], want: Values
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{value},x\n" for value in written))
    got = read_table(path, dtypes={"a": dtype}).get_column("a")
    assert (got.dtype, got.to_list()) == (dtype, want)
