"""`on_disk`: the same tables, in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from twotower.errors import TrainingError
from twotower.towers import table_files
from twotower.towers.layers import row_table
from twotower.towers.table_files import on_disk


def made(rows: int) -> torch.Tensor:
    return row_table(rows, 3, 0.5, torch.Generator().manual_seed(1)).weight


def mapped() -> list[str]:
    """Return the mapped files of this process that tables are in."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if ".scratch-" in line]


@pytest.mark.parametrize("rows", [100, 5, 0])
def test_a_table_in_a_file_is_that_in_memory(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "LEAST", 60)
    alone = made(rows)
    with on_disk(tmp_path):
        found = made(rows)
    torch.testing.assert_close(found, alone, rtol=0, atol=0)
    assert not list(tmp_path.iterdir())  # the file has no name
    if Path("/proc/self/maps").exists():
        assert bool(mapped()) == (rows >= 5)
    with torch.no_grad():
        found.add_(1.0)  # it can be written to
    torch.testing.assert_close(found, alone + 1.0, rtol=0, atol=0)
    del found
    if Path("/proc/self/maps").exists():
        assert not mapped()


def test_small_tables_and_others_are_in_memory(tmp_path: Path) -> None:
    with on_disk(tmp_path / "nowhere"):
        made(100)  # less than the least size


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "LEAST", 0)

    def full(*of: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_files, "_reserve", full)
    with on_disk(tmp_path), pytest.raises(TrainingError, match=r"must fit on the disk of .*No space left"):
        made(100)
    assert not list(tmp_path.iterdir())
