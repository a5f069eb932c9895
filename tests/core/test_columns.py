"""Columns on disk, quantiles of columns read in parts, and tensors written part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from twotower.core import columns
from twotower.core.columns import ColumnWriter, mapped, release, write_column
from twotower.core.quantiles import quantiles
from twotower.core.scratch import Scratch
from twotower.core.tensors import write


@pytest.mark.parametrize("rows", [5, None])
def test_a_column_in_parts_is_a_file_of_numpy(rows: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with ColumnWriter(path, np.float32, rows) as column:
        column.append(np.array([1.0, 2.0]))
        column.append(np.arange(3))
    np.testing.assert_array_equal(np.load(path), np.array([1, 2, 0, 1, 2], np.float32))
    np.testing.assert_array_equal(mapped(path), np.load(path))


def test_released_columns_are_read_again(tmp_path: Path) -> None:
    values = np.arange(1 << 18)
    write_column(tmp_path / "a.npy", values)
    column = mapped(tmp_path / "a.npy")
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs the memory of this process by kind")

    def in_memory() -> int:
        return int(status.read_text().partition("RssFile:")[2].split()[0])

    assert int(column.sum()) == int(values.sum())
    before = in_memory()
    release(column[5:], values, None)
    assert before - in_memory() > 1500  # of 2048 KiB
    np.testing.assert_array_equal(column, values)


def test_an_empty_column(tmp_path: Path) -> None:
    write_column(tmp_path / "a.npy", np.empty(0, np.int32))
    assert mapped(tmp_path / "a.npy").dtype == np.int32


@pytest.mark.parametrize("content", [np.zeros((2, 2)), np.asfortranarray(np.zeros((2, 2)))])
def test_a_file_that_is_not_one_column(content: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(ValueError, match="do not fit its header"):
        mapped(tmp_path / "a.npy")


def test_scratch_leaves_nothing_and_its_columns_stay(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.column("a", np.int64).append(np.arange(4))
        scratch.column("b", np.int64)
        kept = scratch.take("a")
    assert list(tmp_path.iterdir()) == []
    assert kept.tolist() == [0, 1, 2, 3]


@given(
    st.lists(st.lists(st.floats(-5, 5) | st.integers(0, 3).map(float), max_size=6), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.sampled_from([1, 1000]),
)
def test_quantiles_are_those_of_numpy(parts: list[list[float]], shares: list[float], most: int) -> None:
    arrays = [np.array(part) for part in parts]
    found = quantiles(lambda: arrays, np.array(shares), most)
    whole = np.concatenate(arrays)
    expected = np.quantile(whole, shares) if len(whole) else np.full(len(shares), np.nan)
    np.testing.assert_array_equal(found, expected)


def test_tensors_have_the_bytes_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", 5)
    arrays = {
        "b": np.arange(7, dtype=np.float32).reshape(7, 1),
        "a": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "seen": np.arange(3, dtype=np.int32),
        "ends": np.arange(4, dtype=np.int64),
        "warm": np.array([True, False, True]),
        "of": np.array([0.5]),
        "é": np.array([1, 2], np.uint8),
        "none": np.empty((0, 3), np.float32),
    }
    write(arrays, tmp_path / "ours")
    save_file({name: np.ascontiguousarray(of) for name, of in arrays.items()}, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    with pytest.raises(ValueError, match="'x' has the type int16, which is not saved"):
        write({"x": np.empty(2, np.int16)}, tmp_path / "ours")
