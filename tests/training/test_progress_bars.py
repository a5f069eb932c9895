"""What shows how far training is: the bars, the lines, and which of them where."""

from __future__ import annotations

import io
import math
import sys
import types
from itertools import count
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from twotower.errors import ConfigError
from twotower.training import Callback
from twotower.training.progress_bars import EpochBar, EpochLines, NotebookBar, epoch_progress, progress_of

RECORD = {
    "phase": "train",
    "epoch": 2,
    "train_loss": 0.25,
    "validation_ndcg@100": 0.3,
    "pairs_per_second": 2e6,
}


def phase(callback: Callback, reason: str = "early stopping") -> None:
    """Tell of two epochs of five, each of two steps."""
    callback.on_phase_start(phase="train", epochs=5, first_epoch=1, pairs=100)
    for epoch in (1, 2):
        for done in (50, 100):
            callback.on_step_end(epoch=epoch, pairs_done=done, loss=0.5)
        callback.on_epoch_end(RECORD | {"epoch": epoch})
    callback.on_phase_end(reason=reason)


def test_a_bar_shows_the_epoch_and_what_ended_the_phase() -> None:
    with Progress(console=Console(file=io.StringIO())) as progress:
        phase(EpochBar(progress))
        (task,) = progress.tasks
    assert (task.description, task.completed, task.total) == ("train: early stopping", 200, 500)
    assert task.fields["told"] == "loss 0.2500 val ndcg@100 0.3000"


def test_the_bar_of_a_posterior_has_no_loss() -> None:
    with Progress(console=Console(file=io.StringIO())) as progress:
        bar = EpochBar(progress)
        bar.on_phase_start(phase="posterior", epochs=1, first_epoch=1, pairs=100)
        bar.on_step_end(epoch=1, pairs_done=25, loss=math.nan)
        (task,) = progress.tasks
        assert (task.description, task.completed, task.total) == ("posterior", 25, 100)
        assert task.fields["told"] == "posterior means of the id vectors"
        bar.on_phase_end(reason="better on validation")
        assert (task.description, task.fields["told"]) == ("posterior: better on validation", "")


def test_a_phase_that_ended_shows_the_time_that_it_took() -> None:
    clock, out = count(0, 3), io.StringIO()
    display = epoch_progress()
    display.get_time = lambda: float(next(clock))
    phase(EpochBar(display))
    (task,) = display.tasks
    assert task.elapsed is not None
    Console(file=out, width=80).print(display.get_renderable())
    assert out.getvalue().rstrip().endswith(f"0:00:{task.elapsed:02.0f}")
    assert task.elapsed > 9


@pytest.mark.parametrize("reason", ["early stopping", "not better on validation, left out"])
def test_a_bar_fits_80_columns(reason: str) -> None:
    display = epoch_progress()
    bar = EpochBar(display)
    if reason.startswith("not"):
        bar.on_phase_start(phase="posterior", epochs=1, first_epoch=1, pairs=100)
        bar.on_step_end(epoch=1, pairs_done=25, loss=math.nan)
        bar.on_phase_end(reason=reason)
    else:
        phase(bar, reason)
    out = io.StringIO()
    Console(file=out, width=80).print(display.get_renderable())
    (line,) = out.getvalue().rstrip("\n").split("\n")
    assert reason in line
    assert "…" not in line
    assert "━━━" in line


def test_what_was_chosen_is_broken_between_words() -> None:
    out = io.StringIO()
    with Progress(console=Console(file=out, width=40)) as progress:
        EpochBar(progress).on_choice(line="validation ndcg@100: linear 0.2816; kept [linear] (0.2868)")
    assert "validation ndcg@100: linear 0.2816; kept\n[linear] (0.2868)" in out.getvalue()


def test_lines() -> None:
    lines: list[str] = []
    phase(EpochLines(lines.append))
    assert lines == [
        "train: 100 pairs, at most 5 epochs",
        "train epoch 1/5: loss 0.2500 validation ndcg@100 0.3000 2.00 M pairs/s",
        "train epoch 2/5: loss 0.2500 validation ndcg@100 0.3000 2.00 M pairs/s",
        "train: early stopping",
    ]


class Display(types.ModuleType):
    """Stands in for ``IPython.display`` and keeps what is shown."""

    def __init__(self) -> None:
        super().__init__("IPython.display")
        self.shown: list[str] = []

    def HTML(self, page: str) -> str:
        return page

    def display(self, page: str, *, display_id: bool) -> Any:
        assert display_id
        self.shown.append(page)
        return types.SimpleNamespace(update=self.shown.append)


def test_a_notebook_gets_a_row_for_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display()
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    bar = NotebookBar()
    phase(bar, "<all> epochs")
    phase(bar)
    last = display.shown[-1]
    assert last.count("<progress") == 2
    assert "train: &lt;all&gt; epochs" in last
    assert last.count('value="1.000"') == 2
    assert len(display.shown) < 12, "not one update a step"


def test_what_is_shown_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def kinds(shown: Any) -> list[type[Callback]]:
        with progress_of(shown) as callbacks:
            return [type(callback) for callback in callbacks]

    assert (kinds("auto"), kinds(True), kinds(False)) == ([], [EpochLines], [])
    with progress_of(True) as (lines,):
        phase(lines)
    assert "train epoch 2/5" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert (kinds("auto"), kinds(True), kinds(False)) == ([EpochBar], [EpochBar], [])
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert (kinds("auto"), kinds(True), kinds(False)) == ([NotebookBar], [NotebookBar], [])
    with pytest.raises(ConfigError, match="progress must be True, False or 'auto', got 'yes'"):
        kinds("yes")
