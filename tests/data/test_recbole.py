"""RecBole's atomic files: typed headers, lists by blanks, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from twotower.data.tables import column_names, read_dataset, read_table, table_files
from twotower.errors import DataError


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_have_the_names_and_the_types_of_the_header(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x.item",
        "item_id:token\ttitle:token_seq\tprice:float\tplace:float_seq\tcode:token",
        "1\tToy  Story\t3\t0.5 -1\tA1",
        "2\t\t\t\t",
    )
    assert column_names(path) == ["item_id", "title", "price", "place", "code"]
    frame = read_table(path)
    assert frame.schema == {
        "item_id": pl.Int64,
        "title": pl.List(pl.String),
        "price": pl.Float64,
        "place": pl.List(pl.Float64),
        "code": pl.String,
    }
    assert frame.rows() == [(1, ["Toy", "Story"], 3.0, [0.5, -1.0], "A1"), (2, None, None, None, None)]
    assert read_table(path, ["price", "item_id"]).columns == ["price", "item_id"]
    assert read_table(path, ["item_id"], dtypes={"item_id": pl.String})["item_id"].to_list() == ["1", "2"]


def test_a_dataset_of_them(tmp_path: Path) -> None:
    inter = write(tmp_path, "x.inter", "user_id:token\titem_id:token\trating:float", "a\t1\t4", "b\t2\t1.5")
    item = write(tmp_path, "x.item", "item_id:token\ttags:token_seq", "1\tx y", "2\t")
    data = read_dataset(inter, items=item, schema={"label": "rating", "items": {"tags": "categories"}})
    assert data.interactions.rows() == [("a", 1, 4.0), ("b", 2, 1.5)]
    assert data.items.rows() == [(1, ["x", "y"]), (2, None)]
    assert table_files(tmp_path) == [inter, item]


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("user_id\titem_id:token", "1\t2", "name:type with a type of token, token_seq, float, float_seq"),
        ("user_id:tokn\titem_id:token", "1\t2", "Did you mean 'token'?"),
        ("user_id:token\tv:float_seq", "1\t0.5 x", "a float_seq must be numbers separated by spaces"),
        ("user_id:token\tv:float", "1\tx", "must be Float64"),
        ("user_id:token\tv:float", "1", "every line must have as many fields as the header"),
    ],
)
def test_what_is_refused(tmp_path: Path, header: str, row: str, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("?", r"\?")):
        read_table(write(tmp_path, "x.inter", header, row))


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "x.inter", "user_id:token\titem_id:token", "1\t2")
    with pytest.raises(DataError, match="Did you mean 'user_id'"):
        read_table(path, ["userid"])


def test_the_encoding_is_that_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "x.item").write_bytes("item_id:token\ttown:token\n1\tKöln\n".encode("latin-1"))
    frame = read_table(tmp_path / "x.item", encoding="latin-1")
    assert frame.rows() == [(1, "Köln")]
