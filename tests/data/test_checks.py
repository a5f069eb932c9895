"""Bad tables stop with a message that names table, row, column and value; good ones come out typed."""

import datetime as dt
import re
from contextlib import AbstractContextManager

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.config.kinds import kind_of
from twotower.config.schema import Schema
from twotower.data.checks import check_interactions, check_table, common_id_type
from twotower.errors import DataError

SCHEMA = Schema(label="y", timestamp="t", weight="w")


def events(**columns: object) -> pl.DataFrame:
    """Three valid rows, with some columns replaced."""
    base = {
        "user_id": [1, 2, 3],
        "item_id": ["a", "b", "c"],
        "y": [0.5, 1.0, 2.0],
        "t": [1, 2, 3],
        "w": [1, 0, 2],
    }
    return pl.DataFrame({**base, **columns}, strict=False)


def table(kind: str, values: pl.Series | list[object]) -> pl.Series:
    """The feature column of a table with these values."""
    series = values if isinstance(values, pl.Series) else pl.Series("x", values, strict=False)
    frame = pl.DataFrame({"id": range(len(series)), "x": series})
    return check_table(frame, "id", {"x": kind_of(kind)}, (), "users.csv").get_column("x")


def refused(*parts: str) -> AbstractContextManager[object]:
    """Expect a DataError whose message has these parts in this order."""
    return pytest.raises(DataError, match="(?s)" + ".*".join(re.escape(part) for part in parts))


# ---------------------------------------------------------------- interactions


def test_valid_interactions_are_typed_and_keep_other_columns() -> None:
    frame = events(extra=["p", "q", "r"]).with_columns(pl.col("user_id").cast(pl.Int32))
    out = check_interactions(frame, SCHEMA, "log")
    assert out.schema == {
        "user_id": pl.Int32,
        "item_id": pl.String,
        "y": pl.Float64,
        "t": pl.Float64,
        "w": pl.Float64,
        "extra": pl.String,
    }
    assert out.get_column("extra").to_list() == ["p", "q", "r"]


def test_missing_column_names_the_nearest() -> None:
    frame = events().rename({"user_id": "userid"})
    with refused("log has no column 'user_id'", "Did you mean 'userid'?", "Columns: userid, item_id"):
        check_interactions(frame, SCHEMA, "log")


def test_no_rows() -> None:
    with refused("at least one row", "log has none"):
        check_interactions(events().head(0), SCHEMA, "log")


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"user_id": [1, None, 3]}, ("every row needs an id", "log, data row 2", "'user_id' has no value")),
        ({"item_id": ["a", "b", ""]}, ("every row needs an id", "data row 3", "'item_id' has ''")),
        ({"user_id": [None, None, None]}, ("every row needs an id", "data row 1", "'user_id'")),
        ({"user_id": [True, False, True]}, ("integer or a string, not true/false", "log, column 'user_id'")),
        ({"user_id": [1.0, 2.5, 3.0]}, ("integer or a string", "data row 2", "has 2.5")),
        ({"user_id": [1.0, 2.0**60, 3.0]}, ("not exact", "data row 2")),
        ({"user_id": [[1], [2], [3]]}, ("integer or a string, not lists",)),
        ({"user_id": [dt.date(2020, 1, 1)] * 3}, ("not dates or times",)),
        (
            {"y": [1.0, None, 2.0]},
            ("every interaction needs a label", "data row 2", "'y' has no value", "Drop"),
        ),
        ({"y": [1.0, float("nan"), 2.0]}, ("every interaction needs a label", "data row 2")),
        ({"y": [1.0, 2.0, float("-inf")]}, ("a label must be a finite number", "data row 3", "has -inf")),
        ({"y": ["1", "2", "abc"]}, ("a label must be a finite number", "data row 3", "column 'y' has 'abc'")),
        ({"y": ["1", "", "3"]}, ("every interaction needs a label", "data row 2")),
        ({"y": ["1", "inf", "3"]}, ("a label must be a finite number", "data row 2", "has 'inf'")),
        ({"y": [[1], [2], [3]]}, ("a label must be a finite number, not lists",)),
        ({"w": [1.0, -0.5, 1.0]}, ("a weight must be 0 or more", "data row 2", "has -0.5")),
        ({"w": [1.0, None, 1.0]}, ("every interaction needs a weight", "data row 2")),
        (
            {"t": ["2020-07-05", "yesterday", None]},
            ("a timestamp must be", "data row 2", "has 'yesterday'", "Write"),
        ),
        ({"t": [1.0, float("inf"), 2.0]}, ("a timestamp must be a finite number", "data row 2", "has inf")),
        ({"t": [True, False, True]}, ("a timestamp must be", "not true/false")),
        ({"t": ["2020-02-30", "2020-07-05", None]}, ("data row 1", "has '2020-02-30'")),
    ],
)
def test_bad_interactions(columns: dict[str, object], parts: tuple[str, ...]) -> None:
    with refused(*parts):
        check_interactions(events(**columns), SCHEMA, "log")


def test_whole_floats_and_categoricals_are_ids() -> None:
    frame = events(user_id=[1.0, 2.0, 3.0]).with_columns(pl.col("item_id").cast(pl.Categorical))
    out = check_interactions(frame, SCHEMA, "log")
    assert out.schema["user_id"] == pl.Int64
    assert out.schema["item_id"] == pl.String


def test_ids_beyond_63_bits_are_refused() -> None:
    frame = pl.DataFrame({"user_id": pl.Series([1, 2**63], dtype=pl.UInt64), "item_id": [1, 2]})
    with refused("63 bits", "data row 2", str(2**63)):
        check_interactions(frame, Schema(), "log")


def test_label_may_be_boolean_or_numeric_strings() -> None:
    assert check_interactions(events(y=[True, False, True]), SCHEMA, "log")["y"].to_list() == [1.0, 0.0, 1.0]
    assert check_interactions(events(y=["1", " 2.5 ", "1e3"]), SCHEMA, "log")["y"].to_list() == [
        1.0,
        2.5,
        1000.0,
    ]


def test_duration_among_the_interactions_is_a_number() -> None:
    schema = Schema(duration="d")
    out = check_interactions(events(d=[1, None, 3]), schema, "log")
    assert out.schema["d"] == pl.Float64
    with refused("a duration must be a finite number", "data row 2", "'x'"):
        check_interactions(events(d=["1", "x", "3"]), schema, "log")


# ---------------------------------------------------------------- timestamps

NOON = dt.datetime(2020, 7, 5, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("x", [NOON.timestamp()]),
        pl.Series("x", [int(NOON.timestamp())], dtype=pl.Int64),
        pl.Series("x", [str(int(NOON.timestamp()))]),
        pl.Series("x", [NOON.replace(tzinfo=None)], dtype=pl.Datetime("ms")),
        pl.Series("x", [NOON.replace(tzinfo=None)], dtype=pl.Datetime("ns")),
        pl.Series("x", [NOON]).dt.convert_time_zone("Asia/Shanghai"),
        pl.Series("x", ["2020-07-05 12:00:00"]),
        pl.Series("x", ["2020-07-05 12:00:00.000"]),
        pl.Series("x", ["2020-07-05T12:00"]),
        pl.Series("x", ["2020-07-05T12:00:00Z"]),
        pl.Series("x", [" 2020-07-05T20:00:00.0+08:00 "]),
        pl.Series("x", ["2020-07-05 06:30:00 -0530"]),
    ],
)
def test_every_form_of_one_moment(values: pl.Series) -> None:
    assert table("timestamp", values).to_list() == [NOON.timestamp()]


def test_forms_may_be_mixed_and_missing() -> None:
    out = table("timestamp", ["2020-07-05", "", None, "2020-07-05 00:00:00.5", "1593907200"])
    day = 1_593_907_200.0
    assert out.to_list() == [day, None, None, day + 0.5, day]
    assert table("timestamp", pl.Series("x", [dt.date(2020, 7, 5), None])).to_list() == [day, None]
    assert table("timestamp", [1.0, float("nan")]).to_list() == [1.0, None]


def test_times_before_1970_are_negative() -> None:
    assert table("timestamp", ["1969-12-31 23:59:59"]).to_list() == [-1.0]


@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)))
def test_iso_strings_agree_with_the_standard_library(moment: dt.datetime) -> None:
    want = moment.replace(tzinfo=dt.UTC).timestamp()
    for text in (moment.isoformat(), moment.isoformat(" "), moment.isoformat() + "+00:00"):
        assert table("timestamp", [text]).to_list() == [pytest.approx(want, abs=2e-6)]


# ---------------------------------------------------------------- features


@pytest.mark.parametrize(
    ("kind", "values", "dtype", "want"),
    [
        ("number", [1, None, 3], pl.Float64, [1.0, None, 3.0]),
        ("number", [1.0, float("nan")], pl.Float64, [1.0, None]),
        ("number", ["1.5", "", " 2 "], pl.Float64, [1.5, None, 2.0]),
        ("number", [None, None], pl.Float64, [None, None]),
        ("log_number", [0, 7], pl.Float64, [0.0, 7.0]),
        ("category", [1, None, -124], pl.Int64, [1, None, -124]),
        ("category", [1.0, float("nan"), 3.0], pl.Int64, [1, None, 3]),
        ("category", [True, None], pl.Int64, [1, None]),
        ("category", ["a", "", " ", None], pl.String, ["a", None, None, None]),
        ("category", [None, None], pl.String, [None, None]),
        ("text", ["电影", "", None], pl.String, ["电影", "", None]),
        ("text", [1, 2], pl.String, ["1", "2"]),
        ("categories", [[27, 9], [], None, [None, 3]], pl.List(pl.Int64), [[27, 9], [], None, [3]]),
        ("categories", [["a"], ["b", None]], pl.List(pl.String), [["a"], ["b"]]),
        ("categories", [[1.0, 2.0], [None]], pl.List(pl.Int64), [[1, 2], []]),
        (
            "categories",
            ["[27, 9]", "[8]", "", None, "[]"],
            pl.List(pl.Int64),
            [[27, 9], [8], None, None, []],
        ),
        ("categories", ["[a,b]", "[ 中 文 ]"], pl.List(pl.String), [["a", "b"], ["中 文"]]),
        ("categories", ["Action|Comedy", "Drama"], pl.List(pl.String), [["Action", "Comedy"], ["Drama"]]),
        ("categories", ['["a, b", "c"]', "['d']"], pl.List(pl.String), [["a, b", "c"], ["d"]]),
        ("categories", ["[rock'n'roll,pop]"], pl.List(pl.String), [["rock'n'roll", "pop"]]),
        ("categories", ["1|2", "x"], pl.List(pl.String), [["1", "2"], ["x"]]),
        ("categories", ["007|7"], pl.List(pl.String), [["007", "7"]]),
        ("categories", [None, None], pl.List(pl.String), [None, None]),
        ("vector", [[1, 2], None, [3, 4]], pl.List(pl.Float32), [[1.0, 2.0], None, [3.0, 4.0]]),
        (
            "vector",
            ["[0.5, 2]", "", None, " [1,1e1]"],
            pl.List(pl.Float32),
            [[0.5, 2], None, None, [1, 10]],
        ),
        ("vector", [None, None], pl.List(pl.Float32), [None, None]),
    ],
)
def test_kinds(kind: str, values: list[object], dtype: pl.DataType, want: list[object]) -> None:
    out = table(kind, values)
    assert out.dtype == dtype
    assert out.to_list() == want
    assert table(kind, out).to_list() == want  # what was read can be read again


def test_arrays_and_enums() -> None:
    array = pl.Series("x", [[1, 2], [3, 4]], dtype=pl.Array(pl.Int32, 2))
    assert table("vector", array).to_list() == [[1.0, 2.0], [3.0, 4.0]]
    assert table("categories", array).to_list() == [[1, 2], [3, 4]]
    assert table("category", pl.Series("x", ["a", "b"], dtype=pl.Enum(["a", "b"]))).dtype == pl.String


@pytest.mark.parametrize(
    ("kind", "values", "parts"),
    [
        (
            "number",
            [1.0, float("inf")],
            ("a number must be a finite number", "users.csv, data row 2", "has inf"),
        ),
        (
            "number",
            ["1", "UNKNOWN"],
            ("a number must be a finite number", "data row 2", "'x' has 'UNKNOWN'"),
        ),
        ("number", [[1], [2]], ("not lists", "another kind")),
        ("log_number", [1, -1], ("a log_number must be 0 or more", "data row 2", "has -1.0")),
        (
            "category",
            [1.0, 1.5],
            ("a category must be an integer code or a string", "data row 2", "has 1.5", "number"),
        ),
        ("category", [1.0, float("inf")], ("a category must be", "data row 2", "has inf")),
        ("category", [[1], [2]], ("a category must be", "not lists", "'categories'")),
        ("text", [["a"], ["b"]], ("a text must be a string, not lists",)),
        ("categories", [1, 2], ("categories must be a list", "not Int64", "'category'")),
        (
            "categories",
            ["[1]", "[27, 9"],
            ("bracket is not closed", "data row 2", "has '[27, 9'", "Write it like"),
        ),
        ("categories", ["[[1], [2]]"], ("flat list", "data row 1")),
        ("categories", ["[['a'], ['b']]"], ("flat list", "data row 1")),
        ("categories", [[1.0], [2.5]], ("categories must be", "data row 2", "[2.5]", "'vector'")),
        ("categories", [[1.0], [float("nan")]], ("categories must be", "data row 2", "[nan]")),
        (
            "vector",
            [None, [1, 2], [1]],
            ("one length (2 in data row 2, 1 here)", "data row 3"),
        ),
        (
            "vector",
            ["[1, 2]", "[1, 2, 3]"],
            ("one length (2", "3 here", "data row 2", "'[1, 2, 3]'"),
        ),
        (
            "vector",
            [[1.0, 2.0], [1.0, None]],
            ("a vector must be a list of finite numbers", "data row 2", "[1.0, None]"),
        ),
        ("vector", [[1.0, float("nan")]], ("a vector must be a list of finite numbers", "data row 1")),
        ("vector", ["[1, 2]", "[1, x]"], ("finite numbers ('x' is not a number)", "data row 2")),
        ("vector", ["[1, 2]", "1, 2"], ("in brackets", "data row 2", "has '1, 2'")),
        ("vector", [[], []], ("at least one number", "data row 1")),
        ("vector", [["a"]], ("flat list of numbers",)),
        ("vector", [1.0, 2.0], ("a vector must be", "not Float64")),
    ],
)
def test_bad_features(kind: str, values: list[object], parts: tuple[str, ...]) -> None:
    with refused(*parts):
        table(kind, values)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(DataError) as caught:
        table("vector", [[0.0] * 500, [0.0] * 400])
    assert len(str(caught.value)) < 400


@given(
    st.lists(
        st.one_of(st.none(), st.lists(st.integers(-(10**17), 10**17), max_size=4)), min_size=1, max_size=8
    )
)
def test_lists_of_codes_survive_being_written(rows: list[list[int] | None]) -> None:
    written = pl.Series("x", [None if r is None else str(r) for r in rows], dtype=pl.String)
    out = table("categories", written)
    assert [None if r is None else [int(t) for t in r] for r in out.to_list()] == rows


# ---------------------------------------------------------------- tables


def test_table_has_id_features_display_in_order() -> None:
    frame = pl.DataFrame(
        {"title": ["p", "q"], "c": [1, 2], "other": [0, 0], "item_id": ["a", "b"], "b": ["s", "t"]}
    )
    out = check_table(
        frame, "item_id", {"b": kind_of("category"), "c": kind_of("number")}, ("title", "b"), "items"
    )
    assert out.columns == ["item_id", "b", "c", "title"]
    assert_frame_equal(out.select("title"), frame.select("title"))


def test_an_id_in_two_rows_names_both() -> None:
    frame = pl.DataFrame({"item_id": ["a", "b", "c", "b", "a"]})
    with refused("an id must have at most one row ('b' is in data rows 2 and 4)", "items.csv, data row 4"):
        check_table(frame, "item_id", {}, (), "items.csv")


def test_tables_without_rows_or_columns() -> None:
    with refused("at least one row", "users has none"):
        check_table(pl.DataFrame({"id": [], "x": []}), "id", {"x": kind_of("number")}, (), "users")
    assert check_table(pl.DataFrame({"id": []}), "id", {}, (), "users").height == 0
    with refused("items has no column 'titel'", "Did you mean 'title'?"):
        check_table(pl.DataFrame({"id": [1], "title": ["x"]}), "id", {}, ("titel",), "items")


@pytest.mark.parametrize(
    ("left", "right", "want"),
    [
        (pl.Int32, pl.Int32, pl.Int32),
        (pl.Int32, pl.Int64, pl.Int64),
        (pl.UInt8, pl.Int16, pl.Int64),
        (pl.Int64, pl.String, pl.String),
        (pl.String, pl.Int16, pl.String),
    ],
)
def test_common_id_type(left: pl.DataType, right: pl.DataType, want: pl.DataType) -> None:
    a, b = (pl.DataFrame({"id": pl.Series(["7", "8"]).cast(t), "x": [1, 2]}) for t in (left, right))
    out_a, out_b = common_id_type(a, b, "id")
    assert out_a.schema["id"] == out_b.schema["id"] == want
    assert out_a.join(out_b, on="id").height == 2


@pytest.mark.parametrize("text", ["20.09.2018 01:05", "2018/09/20", "1 Oct 2019", "20180920", "1537405500"])
def test_times_of_any_form_stay_in_their_column(text: str) -> None:
    frame = pl.DataFrame({"user_id": [1], "item_id": [2], "when": [text]})
    checked = check_interactions(frame, Schema(timestamp="when"), "interactions")
    assert checked.columns == ["user_id", "item_id", "when"]
    assert checked["when"].dtype == pl.Float64
