"""Progress of the work: a bar on a terminal, plain lines elsewhere, both on stderr."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from twotower.cli.output import log

if TYPE_CHECKING:
    from twotower.training import Callback


def training_progress() -> AbstractContextManager[list[Callback]]:
    """Return what gives the callbacks that show the epochs: a bar on a terminal, or else lines."""
    from twotower.training.progress_bars import progress_of  # noqa: PLC0415  (torch)

    return progress_of(True, log)


@contextmanager
def counting(what: str) -> Iterator[Counter]:
    """Yield a counter of work done: a bar on a terminal, a line at every 10% elsewhere."""
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
    """Shows how much is done."""

    @abstractmethod
    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Show ``done`` of ``total`` (None if unknown) of ``label`` (the current step)."""


class Lines(Counter):
    """Prints a line at every 10%."""

    def __init__(self, what: str) -> None:
        self._what, self._tenth = what, -1

    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Print a line if another 10% is done."""
        if label is not None and label != self._what:
            self._what, self._tenth = label, -1
        if not total:
            return
        tenth = int(10 * done / total)
        if tenth != self._tenth:
            self._tenth = tenth
            log(f"{self._what}: {10 * tenth}%")


class Bar(Counter):
    """Shows a bar for each piece of work."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._tasks: dict[str, TaskID] = {}

    def show(self, done: float, total: float | None, label: str | None = None) -> None:
        """Move the bar."""
        name = label or self._what
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
