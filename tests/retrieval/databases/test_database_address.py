"""Addresses of vector databases, and columns as they keep them."""

from __future__ import annotations

import polars as pl
import pytest

from twotower.errors import ConfigError
from twotower.retrieval.databases import Address, Columns, database_at


@pytest.mark.parametrize(
    ("text", "collection"),
    [
        ("milvus://host/films", "films"),
        ("milvus://host:19530/films_2", "films_2"),
        ("milvus://[::1]:80/films?db=shop&tls=yes", "films"),
        ("milvus:some/where/films.db", "films"),
        ("milvus:/films.db", "films"),
    ],
)
def test_an_address_is_read_and_written(text: str, collection: str) -> None:
    address = Address.parse(text)
    assert address.collection == collection
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("milvus", "must be milvus://HOST:PORT/COLLECTION or milvus:FILE.db; got 'milvus'"),
        (
            "weaviate://host/films",
            "must be milvus://HOST:PORT/COLLECTION or milvus:FILE.db; got 'weaviate:...'",
        ),
        ("milvus://host", "COLLECTION in milvus://HOST:PORT/COLLECTION must be letters, .*; got ''"),
        ("milvus://host/a/b", "got 'a/b'"),
        ("milvus://host/7days", "not a digit first; got '7days'"),
        ("milvus://host:70000/films", "a port must lie between 1 and 65535"),
        ("milvus://host/films?tls=maybe", "tls must be yes or no; got 'maybe'"),
        ("milvus://host/films?database=x", "the options of an address are db, tls; got 'database'"),
        ("milvus:films.txt", "a file of milvus-lite must end in .db; got 'films.txt'"),
        ("milvus:my films.db", "the file's name must be letters, digits and underscores"),
        ("milvus:films.db?tls=yes", "the address of a file must be milvus:PATH, without options"),
        ("milvus:", "the address of a file must be milvus:PATH"),
    ],
)
def test_what_is_no_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        database_at(text)


def test_a_secret_in_an_address_is_refused_and_not_repeated() -> None:
    for text in ("milvus://root:secret@host/films", "milvus://secret@host/films"):
        with pytest.raises(ConfigError, match="Set TWOTOWER_MILVUS_TOKEN") as error:
            database_at(text)
        assert "secret" not in str(error.value)


def test_columns_that_can_not_be_kept_are_said() -> None:
    columns = Columns(
        pl.DataFrame(
            {
                "big": pl.Series([2**63], dtype=pl.UInt64),
                "small": pl.Series([2**63 - 1], dtype=pl.UInt64),
                "far": [float("-inf")],
                "story": ["x" * 65_536],
                "many": [["x"] * 4_097],
                "nested": [[["x"]]],
                "some": [["a", None, "bcd"]],
                "numbers": [[1.0, float("nan")]],
                "2nd": [True],
                "ROW": [1],
                "a b": [1],
                "a-b": [2],
                **{f"c{i}": [i] for i in range(60)},
            }
        )
    )
    kept = {column.name: column for column in columns}
    assert list(kept)[:7] == ["small", "some", "numbers", "2nd", "ROW", "a b", "a-b"]
    assert [kept[name].field for name in ("2nd", "ROW", "a b", "a-b")] == ["c_2nd", "ROW_", "a_b", "a_b_"]
    assert kept["some"].values.to_list() == [["a", "bcd"]]
    assert kept["numbers"].values.to_list() == [[1.0]]
    assert (kept["some"].longest, kept["some"].most) == (3, 2)
    assert columns.left_out == {
        "big": "has whole numbers of more than 63 bits",
        "far": "has infinite numbers",
        "story": "has texts of more than 65,535 bytes",
        "many": "has lists of more than 4,096 values",
        "nested": "holds List(String)",
        **{f"c{i}": "is beyond 60 columns" for i in range(53, 60)},
    }
    assert len(columns) == 60
    assert columns.get("big") is None
