"""JSON records with a key twice: which value is meant can't be known, so they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from twotower.data.tables import read_table
from twotower.errors import DataError


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        (
            "a.jsonl",
            '{"user": 1, "item": 2}\n{"user": 1, "item": 2, "item": 3}\n',
            "line 2, has 'item' twice",
        ),
        ("a.json", '[{"user": 1, "item": 2}, {"user": 1, "user": 4, "item": 2}]', "has 'user' twice"),
    ],
)
def test_a_key_twice_is_refused(tmp_path: Path, name: str, text: str, where: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"must have each key once: .*{where}"):
        read_table(tmp_path / name, ["user", "item"])


def test_the_same_key_in_several_records_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user": 1, "item": 2}\n{"item": 3, "user": 1}\n')
    found = read_table(tmp_path / "a.jsonl", ["user", "item"])
    assert [str(item) for item in found.get_column("item")] == ["2", "3"]
