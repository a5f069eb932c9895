"""Training on interactions on disk: the same model as on those in memory, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import twotower as tt
from twotower.baselines import Biases
from twotower.core import columns, lists
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.fingerprint import fingerprint_of
from twotower.data.store import StoredEvents, StoredTrain, transposing
from twotower.errors import ConfigError, TwoTowerWarning
from twotower.training.closed_form import hard_negatives

Sets = tuple[TrainPart, Dataset, Dataset, StoredTrain]


def rows(n: int, seed: int, *, users: int = 60) -> pl.DataFrame:
    """Return n interactions with tastes, of which some repeat a pair or lack the time."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, users, n), (rng.random(n) ** 2 * 40).astype(np.int64)
    label = 1 + 3 * np.cos((user[:, None] + item[:, None]) / [3, 7]).mean(axis=1) + rng.normal(0, 0.3, n)
    time = pl.Series(rng.integers(0, 50, n).astype(float)).set(pl.Series(rng.random(n) < 0.02), None)
    return pl.DataFrame(
        {"u": [f"u{u:02}" for u in user], "i": item, "y": label.round(1), "t": time, "w": rng.random(n)}
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Return training, validation and test set, and the training set on disk.

    Users and items have their rows in another order than that of the store, and some have no interactions.
    """
    schema = {
        "user": "u",
        "item": "i",
        "label": "y",
        "timestamp": "t",
        "weight": "w",
        "items": {"size": "number"},
    }
    everyone = pl.DataFrame({"u": [f"u{u:02}" for u in reversed(range(64))]})
    items = pl.DataFrame({"i": list(range(44))[::-1], "size": [float(i % 5) for i in range(44)]})
    first, second, third = (
        Dataset.of(rows(n, seed, users=users), everyone, items, schema=schema)
        for n, seed, users in ((1500, 0, 58), (300, 1, 60), (300, 2, 60))
    )
    train = first.as_train()
    events = StoredEvents.of(train, tmp_path_factory.mktemp("store") / "events")
    return train, second, third, StoredTrain(events, train.users, train.items, train.schema)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let small data cross the bounds of blocks, and make warnings errors: nothing is read into memory."""
    monkeypatch.setattr(lists, "BLOCK", 70)
    monkeypatch.setattr(columns, "CHUNK", 90)
    monkeypatch.setattr(transposing, "AT_ONCE", 100)
    monkeypatch.setattr(hard_negatives, "USERS", 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TwoTowerWarning)
        yield


# without a refit where the order of the joined sets matters: which of several rows of a pair is the first,
# and which pairs are in a batch
WAYS: dict[str, dict[str, Any]] = {
    "graded": {"regularisation": 0.33},
    "searched": {"epochs": 2},
    "positives alone": {
        "regularisation": 0.33,
        "min_grade": None,
        "positive": {"quantile": 0.6},
        "refit": False,
    },
    "hard negatives": {"regularisation": 0.33, "hard_weight": 0.1, "epochs": 6, "refit": False},
    "squared": {"objective": "squared", "transform": "standardise"},
    "layers": {"kind": "mlp", "hidden": [4], "objective": "squared", "epochs": 1},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_model_as_in_memory(sets: Sets, way: str, tmp_path: Path) -> None:
    _, validation, test, stored = sets
    estimator = tt.TwoTower(**{"kind": "linear", "dim": 4, "epochs": 3, "threads": 1, **WAYS[way]})
    ours, theirs = estimator.fit(stored, validation), estimator.fit(stored.in_memory(), validation)
    for which in ("users", "items"):
        mine, other = getattr(ours, which), getattr(theirs, which)
        assert mine.ids.to_list() == other.ids.to_list()
        np.testing.assert_allclose(mine.vectors, other.vectors, atol=1e-5)
    assert ours.training.fold_in.positive == pytest.approx(theirs.training.fold_in.positive)
    assert ours.training.fold_in.ridge == pytest.approx(theirs.training.fold_in.ridge)
    assert sorted(map(sorted, (ours.seen[r].tolist() for r in range(64)))) == sorted(
        map(sorted, (theirs.seen[r].tolist() for r in range(64)))
    )
    measured = [
        model.evaluate(test, exclude_seen=False, ks=(5,), resamples=20).metrics for model in (ours, theirs)
    ]
    for name, value in measured[0].items():
        assert value.value == pytest.approx(measured[1][name].value, abs=5e-4, nan_ok=True)
    ours.save(tmp_path / "bundle")
    np.testing.assert_array_equal(tt.load(tmp_path / "bundle").users.vectors, ours.users.vectors)
    assert not list(stored.events.space.glob(".scratch*"))


def test_biases_are_those_of_rows_in_memory(sets: Sets) -> None:
    _, validation, test, stored = sets
    found, expected = (Biases().fit(train, validation) for train in (stored, stored.in_memory()))
    np.testing.assert_array_equal(found.predict(test), expected.predict(test))


def test_joined_with_the_validation_set(sets: Sets) -> None:
    train, validation, _, stored = sets
    found, expected = stored.joined(validation), train.joined(validation)
    assert (len(found), found.columns) == (1800, ["u", "i", "y", "t", "w"])
    columns = ["u", "i", "y", "t", "w"]
    found_rows = found.in_memory().interactions
    assert found_rows.sort(columns).equals(expected.interactions.select(columns).sort(columns))
    in_order = found_rows.with_columns(pl.col("t").fill_null(np.inf)).select("u", "t")
    assert in_order.equals(in_order.sort("u", "t"))
    assert found.ids("user").to_list() == expected.ids("user").to_list()


def test_one_fingerprint_for_the_same_rows(sets: Sets) -> None:
    _, validation, _, stored = sets
    mark = fingerprint_of(train=stored, validation=validation)
    assert mark == fingerprint_of(train=stored, validation=validation)
    assert mark != fingerprint_of(train=stored.joined(validation), validation=validation)


def test_auto_takes_what_learns_from_disk(sets: Sets) -> None:
    _, validation, _, stored = sets
    lines: list[str] = []

    class Told(tt.Callback):
        def on_choice(self, *, line: str) -> None:
            lines.append(line)

    model = tt.TwoTower(dim=4, epochs=1, regularisation=0.33).fit(stored, validation, callbacks=[Told()])
    assert model.model.config.kind == "linear"
    assert lines[0] == (
        "left out item_item, sequence: all 1,500 interactions in memory take about 0.0 GB; to try them, set "
        "data.store = 'never'"
    )
    with pytest.raises(ConfigError, match="no kind that learns from interactions on disk"):
        tt.TwoTower(candidates=["item_item"]).fit(stored, validation)


def test_other_kinds_read_all_into_memory_and_say_so(sets: Sets) -> None:
    _, validation, _, stored = sets
    with pytest.warns(TwoTowerWarning, match="'sequence' read all 1,500 interactions of the store into mem"):
        tt.TwoTower(kind="sequence", dim=4, epochs=1, max_history=5).fit(stored, validation)
