"""Callbacks of `TwoTower.fit`: what they are told, how they stop training, and what their errors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.recommender import Recommender
from twotower.training import Callback, Checkpoint, HistoryFile, Record

SETTINGS: dict[str, Any] = {
    "dim": 8,
    "kind": "mlp",
    "hidden": (8,),
    "threads": 1,
    "epochs": 4,
    "objective": "softmax",
}


@pytest.fixture(scope="module")
def train() -> TrainPart:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 30, 600), rng.integers(0, 20, 600)
    return Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema={}).as_train()


class Seen(Callback):
    """Keeps phases, records and reasons; stops after an epoch of a phase."""

    def __init__(self, stop_in: str = "", after: int = 0) -> None:
        self.events: list[Any] = []
        self.stop_in, self.after = stop_in, after

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        self.phase = phase
        self.events.append((phase, epochs, first_epoch))

    def on_epoch_end(self, record: Record) -> None:
        self.events.append(record["epoch"])
        if self.phase == self.stop_in and record["epoch"] == self.after:
            self.stop("good enough")

    def on_phase_end(self, *, reason: str) -> None:
        self.events.append(reason)


def test_a_subclass_overrides_only_what_it_needs(train: TrainPart, tmp_path: Path) -> None:
    class Count(Callback):
        steps = 0

        def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
            self.steps += 1

    count, file, seen = Count(), HistoryFile(tmp_path / "history.jsonl"), Seen()
    model = TwoTower(**SETTINGS).fit(train, callbacks=[count, file, seen], progress=False)
    assert count.steps >= len(model.history)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == model.history
    assert [event for event in seen.events if isinstance(event, int)] == [of["epoch"] for of in model.history]


def test_a_misspelt_hook_is_said() -> None:
    with pytest.warns(TwoTowerWarning, match=r"Late\.on_epoch_ends is never called; .*'on_epoch_end'"):
        type("Late", (Callback,), {"on_epoch_ends": lambda self, record: None})


def test_a_callback_stops_a_phase_and_the_refit_follows(train: TrainPart) -> None:
    seen = Seen("train", 2)
    model = TwoTower(**SETTINGS).fit(train, callbacks=[Seen(), seen], progress=False)
    best = [record["epoch"] for record in model.history if record.get("best")][-1]
    assert seen.events[:4] == [("train", 4, 1), 1, 2, "good enough"]
    assert seen.events[4] == ("refit", best, 1)
    assert seen.events[-1] == "all epochs", "what stopped one phase does not stop the next"


def test_a_callback_stops_the_refit(train: TrainPart) -> None:
    settings = {**SETTINGS, "learning_rate": 1e-4, "patience": 9}  # gets better slowly: the best is the last
    seen = Seen("refit", 1)
    model = TwoTower(**settings).fit(train, callbacks=[seen], progress=False)
    assert seen.events[-2:] == [1, "good enough"]
    assert [record["epoch"] for record in model.history if record["phase"] == "refit"] == [1]


def test_an_error_says_whose_it_is_and_leaves_the_checkpoint(train: TrainPart, tmp_path: Path) -> None:
    class Fails(Callback):
        def on_epoch_end(self, record: Record) -> None:
            if record["epoch"] == 2:
                raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        TwoTower(**SETTINGS).fit(train, callbacks=[Fails()], checkpoints=tmp_path, progress=False)
    (note,) = caught.value.__notes__
    assert note.startswith("Raised by the callback Fails in on_epoch_end. The last whole epoch is in the")
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert found.meta["epoch"] == 1
    resumed = TwoTower(**SETTINGS).fit(train, checkpoints=tmp_path, resume=True, progress=False)
    whole = TwoTower(**SETTINGS).fit(train, progress=False)
    assert np.array_equal(resumed.users.vectors, whole.users.vectors)
    with pytest.raises(ZeroDivisionError) as caught:
        TwoTower(**SETTINGS).fit(train, callbacks=[Fails()], progress=False)
    assert caught.value.__notes__ == ["Raised by the callback Fails in on_epoch_end."]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([Seen], "must be objects of subclasses of twotower.Callback, got the class Seen"),
        ([print], "got <built-in function print>; derive the class"),
        (Seen(), r"callbacks is a list, got one Seen; write callbacks=\[...\]"),
    ],
)
def test_what_is_not_a_list_of_callbacks_is_refused(callbacks: Any, message: str, train: TrainPart) -> None:
    with pytest.raises(ConfigError, match=message):
        TwoTower(**SETTINGS).fit(train, callbacks=callbacks)


def test_a_listener_still_works_and_is_deprecated(train: TrainPart) -> None:
    class Old:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
            self.heard.append(phase)

        def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
            pass

        def epoch(self, record: Record) -> None:
            self.heard.append(record["epoch"])

        def end(self, *, reason: str) -> None:
            self.heard.append(reason)

    old = Old()
    with pytest.warns(DeprecationWarning, match=r"deprecated .* use callbacks=\[\.\.\.\]") as caught:
        TwoTower(**SETTINGS, refit=False).fit(train, listener=old, progress=False)
    assert caught[0].filename == __file__
    assert old.heard[:2] == ["train", 1]
    assert old.heard[-1] in ("all epochs", "early stopping")


def test_progress_writes_a_line_an_epoch_where_no_bar_can_be(
    train: TrainPart, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TwoTower(**SETTINGS).fit(train, progress=True)
    captured = capsys.readouterr()
    assert captured.err.count(" epoch ") == len(model.history)
    assert captured.out == ""
    TwoTower(**SETTINGS).fit(train)
    assert capsys.readouterr().err == ""


def test_a_model_remembers_its_training(train: TrainPart, tmp_path: Path) -> None:
    model = TwoTower(**SETTINGS).fit(train, progress=False)
    frame = model.training_history
    assert frame.height == len(model.history)
    assert frame["train_loss"].to_list() == [record["train_loss"] for record in model.history]
    assert (
        frame.filter(phase="refit")["validation_ndcg@100"].null_count() == frame.filter(phase="refit").height
    )
    best = [record["epoch"] for record in model.history if record.get("best")][-1]
    marked = [row for row in model.plot_history().spec["data"]["values"] if row["best"]]
    assert {(row["group"], row["epoch"]) for row in marked} == {
        ("validation ndcg@100", best),
        ("validation recall@20", best),
    }
    model.save(tmp_path / "bundle")
    assert Recommender.load(tmp_path / "bundle").training_history.equals(frame)


def test_resuming_needs_a_checkpoint(train: TrainPart, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resume=True continues from a checkpoint: say where it is"):
        TwoTower(**SETTINGS).fit(train, resume=True)
    folder = str(tmp_path / "new")
    with pytest.warns(TwoTowerWarning, match="there is no checkpoint in .*new: training starts from the beg"):
        model = TwoTower(**SETTINGS).fit(train, checkpoints=folder, resume=True, progress=False)
    assert (tmp_path / "new").is_dir()
    again = TwoTower(**SETTINGS).fit(train, checkpoints=folder, resume=True, progress=False)
    assert np.array_equal(model.users.vectors, again.users.vectors)
