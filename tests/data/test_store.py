"""Interactions on disk: the same rows as the frame, by user and by item; a damaged store is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.store import StoredEvents, StoredTrain, StoreWriter
from twotower.data.store.transposing import transposed
from twotower.errors import ConfigError, DataError, TwoTowerWarning

SCHEMA = Schema(user="u", item="i", label="y", timestamp="t", weight="w")


def training_set(**changed: object) -> TrainPart:
    """Return 8 interactions of 3 users, in the order of no column."""
    rows = {
        "u": ["b", "a", "c", "a", "b", "a", "b", "b"],
        "i": [7, 9, 7, 7, 3, 3, 9, 7],
        "y": [1.0, 2.5, 3.0, 4.0, 5.0, 0.5, 1.0, 2.0],
        "t": [50, 20, None, 10, 50, None, 40, 60],
        "w": [1.0, 1.0, 2.0, 1.0, 0.0, 1.0, 1.0, 3.0],
    }
    return Dataset.of(pl.DataFrame(rows | changed), schema=SCHEMA).as_train()


@pytest.fixture
def store(tmp_path: Path) -> StoredEvents:
    return StoredEvents.of(training_set(), tmp_path / "store")


def test_grouped_by_user_in_order_of_time(store: StoredEvents) -> None:
    assert store.users.to_list() == ["a", "b", "c"]
    assert store.items.to_list() == [3, 7, 9]
    assert store.indptr.tolist() == [0, 3, 7, 8]
    # a: at 10, 20, never; b: at 40, twice at 50 in the order of the table, at 60
    assert store.item.tolist() == [1, 2, 0, 2, 1, 0, 1, 1]
    assert store.label is not None
    assert store.label.tolist() == [4.0, 2.5, 0.5, 1.0, 1.0, 5.0, 2.0, 3.0]
    assert store.weight is not None
    assert store.weight.tolist() == [1, 1, 1, 1, 1, 0, 3, 2]
    assert store.time is not None
    np.testing.assert_array_equal(store.time, [10, 20, np.nan, 40, 50, 50, 60, np.nan])


def test_the_frame_has_the_same_rows(store: StoredEvents) -> None:
    train = training_set()
    stored = StoredTrain(store, train.users, train.items, train.schema)
    assert (len(stored), stored.role_columns()) == (8, ["u", "i", "y", "t", "w"])
    with pytest.warns(TwoTowerWarning, match="all 8 interactions of the store are read into memory"):
        rows = stored.interactions
    assert rows.schema == train.interactions.schema
    assert rows.sort("u", "i", "y").equals(train.interactions.sort("u", "i", "y"))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_blocks_are_whole_users(store: StoredEvents, size: int) -> None:
    blocks = list(store.blocks(size))
    assert [block.first for block in blocks] == [0, *(block.last for block in blocks[:-1])]
    assert all(len(block.item) <= size or block.last == block.first + 1 for block in blocks)
    np.testing.assert_array_equal(np.concatenate([b.item for b in blocks]), store.item)
    users = np.repeat([0, 1, 2], np.diff(store.indptr))
    np.testing.assert_array_equal(np.concatenate([b.user for b in blocks]), users)
    assert blocks[-1].last == 3


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_by_item(store: StoredEvents, tmp_path: Path, at_once: int) -> None:
    indptr, user, place = transposed(store.indptr, store.item, 3, tmp_path / "by_item", at_once)
    assert indptr.tolist() == [0, 2, 6, 8]
    assert user.tolist() == [0, 1, 0, 1, 1, 2, 0, 1]
    assert place.tolist() == [2, 5, 0, 4, 6, 7, 1, 3]
    assert store.transpose.user.tolist() == user.tolist()
    assert (store.folder / "transpose").is_dir()


def test_the_smallest_exact_types(store: StoredEvents, tmp_path: Path) -> None:
    given = {role: str(column.dtype) for role, column in store.columns.items()}
    assert given == {"label": "float32", "time": "float64", "weight": "float32"}
    other = training_set(t=list(range(8)), y=[0.1] * 8, w=[0.25] * 8)
    wide = StoredEvents.of(other, tmp_path / "wide")
    found = {role: str(column.dtype) for role, column in wide.columns.items()}
    assert found == {"label": "float64", "time": "uint32", "weight": "float32"}
    assert wide.label is not None
    assert wide.label.tolist() == [0.1] * 8
    assert wide.nbytes == 4 * 8 + 8 * (4 + 8 + 4 + 4)


def test_roles_that_there_are_not(tmp_path: Path) -> None:
    data = Dataset.of(pl.DataFrame({"u": [1, 1], "i": [2, 3]}), schema={"user": "u", "item": "i"})
    store = StoredEvents.of(data.as_train(), tmp_path / "store")
    assert (store.label, store.time, store.weight) == (None, None, None)
    assert (
        StoredTrain(store, data.users, data.items, data.schema)
        .in_memory()
        .interactions.equals(data.interactions)
    )


def test_context_has_no_place_in_a_store(tmp_path: Path) -> None:
    schema = {"user": "u", "item": "i", "context": {"device": "category"}}
    rows = pl.DataFrame({"u": [1], "i": [2], "device": ["tv"]})
    with pytest.raises(ConfigError, match="'device'; keep the data in memory"):
        StoredEvents.of(Dataset.of(rows, schema=schema).as_train(), tmp_path / "store")


def test_what_is_written_to_a_column_never_reaches_the_file(store: StoredEvents) -> None:
    store.item[0] = 0
    assert StoredEvents.open(store.folder).item[0] == 1


def test_another_process_opens_it(store: StoredEvents) -> None:
    train = training_set()
    again = pickle.loads(pickle.dumps(StoredTrain(store, train.users, train.items, SCHEMA, ("note",))))
    assert again.notes == ("note",)
    np.testing.assert_array_equal(again.events.item, store.item)


class TestDamaged:
    def test_a_file_that_is_cut(self, store: StoredEvents) -> None:
        path = store.folder / "item.npy"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match=r"item.npy has 159 bytes instead of 160. Delete the folder"):
            StoredEvents.open(store.folder)

    def test_a_byte_that_changed(self, store: StoredEvents) -> None:
        path = store.folder / "label.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"label\.npy does not have the contents that were written"):
            StoredEvents.open(store.folder)
        assert len(StoredEvents.open(store.folder, verify=False)) == 8

    def test_a_file_that_is_missing(self, store: StoredEvents) -> None:
        (store.folder / "users.parquet").unlink()
        with pytest.raises(DataError, match=r"must be whole, and .* is not: .*No such file"):
            StoredEvents.open(store.folder)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"layout": 2}', '{"layout": 1}'])
    def test_a_manifest_that_is_none(self, store: StoredEvents, content: str) -> None:
        (store.folder / "manifest.json").write_text(content)
        with pytest.raises(DataError, match="a store of interactions must be whole"):
            StoredEvents.open(store.folder)

    def test_a_manifest_of_other_columns(self, store: StoredEvents) -> None:
        path = store.folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["columns"]["label"] = "float64"
        path.write_text(json.dumps(manifest))
        with pytest.raises(DataError, match="its columns are not those of its manifest"):
            StoredEvents.open(store.folder)

    def test_a_store_that_was_never_finished(self, tmp_path: Path) -> None:
        ids, folder = pl.Series([1, 2]), tmp_path / "store"

        def broken() -> None:
            with StoreWriter.new(folder, ids, ids, 3, {}) as writer:
                writer.append(np.array([1]), np.array([0]))
                raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left"):
            broken()
        assert list(tmp_path.iterdir()) == []
        with (
            pytest.raises(ValueError, match=r"item.npy must have 3 values, got 1"),
            StoreWriter.new(folder, ids, ids, 3, {}) as writer,
        ):
            writer.append(np.array([1]), np.array([0]))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(DataError, match=r"manifest.json can't be read \(FileNotFoundError\)"):
            StoredEvents.open(folder)
