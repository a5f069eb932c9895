"""How far the work has come: a bar on a terminal, plain lines elsewhere, both on stderr."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from twotower.cli.output import log

if TYPE_CHECKING:
    from twotower.training.listener import Listener, Record


_TOLD = ("validation_rmse", "validation_mae", "validation_ndcg@100", "validation_recall@20")
"""Metrics of an epoch that are shown, where it has them; beside a bar there is room for every second one."""


POSTERIOR = "posterior"
"""The phase of one pass, without a loss, that may follow the epochs."""


@contextmanager
def training_progress() -> Iterator[Listener]:
    """Give a listener that shows the epochs: a bar on a terminal, one line an epoch elsewhere."""
    if not sys.stderr.isatty():
        yield EpochLines()
        return
    with told_progress() as progress:
        yield EpochBar(progress)


def told_progress() -> Progress:
    """Return the display of bars that have something to tell, each with its field ``told``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
    )
    return Progress(*columns, console=Console(file=sys.stderr))


class EpochLines:
    """Prints one line an epoch."""

    def __init__(self) -> None:
        self._phase, self._epochs = "", 0

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Say what begins."""
        self._phase, self._epochs = phase, epochs
        if phase == POSTERIOR:
            log(f"{phase}: id vectors by their means, given {pairs:,} pairs")
            return
        resumed = f", from epoch {first_epoch}" if first_epoch > 1 else ""
        log(f"{phase}: {pairs:,} pairs, at most {epochs} epochs{resumed}")

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Print nothing."""

    def epoch(self, record: Record) -> None:
        """Print the epoch."""
        log(f"{self._phase} epoch {record['epoch']}/{self._epochs}: {told(record)}")

    def end(self, *, reason: str) -> None:
        """Say why it is over."""
        log(f"{self._phase}: {reason}")


class EpochBar:
    """Moves a bar over all the pairs of all epochs; early stopping leaves it before its end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = TaskID(0)
        self._phase, self._epochs, self._pairs, self._last = "", 0, 0, ""

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Put up the bar of a phase."""
        self._phase, self._epochs, self._pairs, self._last = phase, epochs, pairs, ""
        # A resumed bar counts from where it goes on, else the time left would be reckoned from a false speed.
        total = pairs * (epochs - first_epoch + 1)
        self._first = first_epoch
        self._task = self._progress.add_task(phase, total=total, told="")

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Move the bar."""
        done = (epoch - self._first) * self._pairs + pairs_done
        description = f"{self._phase} {epoch}/{self._epochs}"
        text = f"loss {loss:.4f} {self._last}"
        if self._phase == POSTERIOR:
            description, text = self._phase, "id vectors by their means"
        self._progress.update(self._task, completed=done, description=description, told=text)

    def epoch(self, record: Record) -> None:
        """Show the epoch's numbers."""
        self._last = _after_loss(record, *_TOLD[::2])
        self._progress.update(self._task, told=f"loss {record['train_loss']:.4f} {self._last}")

    def end(self, *, reason: str) -> None:
        """Leave the bar with what ended it."""
        self._progress.update(self._task, description=f"{self._phase}: {reason}")
        self._progress.stop_task(self._task)


@contextmanager
def counting(what: str) -> Iterator[Counter]:
    """Give a counter of what is done of a whole: a bar on a terminal, a line every tenth elsewhere."""
    if not sys.stderr.isatty():
        yield Lines(what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        yield Bar(progress, what)


class Counter(ABC):
    """Told how much is done."""

    @abstractmethod
    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Show ``done`` of ``total`` (none if not known) of ``label`` (the work in hand)."""


class Lines(Counter):
    """A line at every tenth."""

    def __init__(self, what: str) -> None:
        self._what, self._tenth = what, -1

    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Print a line if another tenth is done."""
        if label is not None and label != self._what:
            self._what, self._tenth = label, -1
        if not total:
            return
        tenth = int(10 * done / total)
        if tenth != self._tenth:
            self._tenth = tenth
            log(f"{self._what}: {10 * tenth}%")


class Bar(Counter):
    """A bar for each piece of work."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._tasks: dict[str, TaskID] = {}

    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Move the bar."""
        name = label or self._what
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)


def told(record: Record) -> str:
    """Return the numbers of an epoch in a line."""
    return f"loss {record['train_loss']:.4f} {_after_loss(record, *_TOLD)}"


def _after_loss(record: Record, *metrics: str) -> str:
    shown = [f"{key.replace('_', ' ')} {record[key]:.4f}" for key in metrics if record.get(key) is not None]
    return " ".join([*shown, f"{record['pairs_per_second'] / 1e6:.2f} M pairs/s"])
