"""The progress of training: a bar on a terminal or in a notebook, or one line per epoch."""

from __future__ import annotations

import html
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from twotower.errors import ConfigError
from twotower.training.callback import Callback, Record

Shown = bool | Literal["auto"]
"""``"auto"``: a bar in a notebook or on a terminal. True: there too, and one line per epoch elsewhere."""

_METRICS = ("validation_rmse", "validation_mae", "validation_ndcg@100", "validation_recall@20")
"""Metrics of an epoch that are shown."""
_BESIDE = ("validation_rmse", "validation_ndcg@100")
"""Metrics shown beside a bar, which must fit 80 columns; a model has one of them."""
_POSTERIOR = "posterior"
"""The phase of one pass, without a loss, that may follow the epochs."""
_APART = 0.1
"""Seconds between updates of a notebook's output."""


@contextmanager
def progress_of(shown: Shown, write: Callable[[str], Any] | None = None) -> Iterator[list[Callback]]:
    """Yield the callbacks that show a training's progress: a bar or lines, whichever fits where it runs.

    Args:
        shown: see `Shown`.
        write: called with each line where there is no bar; None to print to stderr.

    Raises:
        ConfigError: shown is not True, False or ``"auto"``.
    """
    if shown not in (True, False, "auto"):
        raise ConfigError(f"progress must be True, False or 'auto', got {shown!r}")
    console = Console(stderr=True)
    if shown and console.is_jupyter:
        yield [NotebookBar()]
    elif shown and sys.stderr.isatty():
        with epoch_progress() as progress:
            yield [EpochBar(progress)]
    elif shown is True:
        yield [EpochLines(write or line_writer(True))]
    else:
        yield []


def line_writer(shown: Shown) -> Callable[[str], None]:
    """Return what writes a line to stderr where progress is shown, and nothing elsewhere."""
    if shown is True or (shown == "auto" and (Console(stderr=True).is_jupyter or sys.stderr.isatty())):
        return lambda line: print(line, file=sys.stderr, flush=True)
    return lambda line: None


def epoch_progress() -> Progress:
    """Return the terminal display of bars with a text beside each, its field ``told``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[told]}"),
        _Time(table_column=Column(no_wrap=True, min_width=7)),
    )
    return Progress(*columns, console=Console(file=sys.stderr))


class _Time(TimeRemainingColumn):
    """The time that is left, and of a phase that ended the time that it took."""

    def render(self, task: Task) -> Text:
        """Return what to show."""
        if task.stop_time is None or task.elapsed is None:
            return super().render(task)
        return Text(str(timedelta(seconds=int(task.elapsed))), style="progress.elapsed")


class EpochLines(Callback):
    """Writes one line per epoch.

    Args:
        write: called with each line.
    """

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._phase, self._epochs, self._kind = "", 0, ""

    def on_kind(self, *, kind: str) -> None:
        """Say the kind with every phase from now on."""
        self._kind = kind

    def on_choice(self, *, line: str) -> None:
        """Write what was chosen."""
        self._write(line)

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Write what starts."""
        self._phase, self._epochs = f"{self._kind} {phase}".strip(), epochs
        if phase == _POSTERIOR:
            self._write(f"{self._phase}: posterior means of the id vectors, {pairs:,} pairs")
            return
        resumed = f", resumed at epoch {first_epoch}" if first_epoch > 1 else ""
        self._write(f"{self._phase}: {pairs:,} pairs, at most {epochs} epochs{resumed}")

    def on_epoch_end(self, record: Record) -> None:
        """Write the epoch."""
        speed = f"{record['pairs_per_second'] / 1e6:.2f} M pairs/s"
        text = f"loss {record['train_loss']:.4f} {_metrics(record, _METRICS)} {speed}"
        self._write(f"{self._phase} epoch {record['epoch']}/{self._epochs}: {' '.join(text.split())}")

    def on_phase_end(self, *, reason: str) -> None:
        """Write why it ended."""
        self._write(f"{self._phase}: {reason}")


class _Bar(Callback, ABC):
    """Counts how much of a phase is done; early stopping ends it before the total."""

    def __init__(self) -> None:
        self._phase, self._epochs, self._pairs, self._first, self._last = "", 0, 0, 1, ""
        self._kind, self._label = "", ""

    def on_kind(self, *, kind: str) -> None:
        """Say the kind beside every phase from now on."""
        self._kind = kind

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Start the phase's bar."""
        self._phase, self._epochs, self._pairs, self._first, self._last = (
            phase,
            epochs,
            pairs,
            first_epoch,
            "",
        )
        self._label = f"{self._kind} {phase}".strip()
        # A resumed bar counts from the first epoch that is left, or else its speed would be wrong.
        self._begin(pairs * (epochs - first_epoch + 1))

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Move the bar."""
        done = (epoch - self._first) * self._pairs + pairs_done
        if self._phase == _POSTERIOR:
            self._show(done, self._label, "posterior means of the id vectors")
        else:
            self._show(done, f"{self._label} {epoch}/{self._epochs}", f"loss {loss:.4f} {self._last}")

    def on_epoch_end(self, record: Record) -> None:
        """Show the epoch's metrics."""
        self._last = _metrics(record, _BESIDE).replace("validation", "val")
        done = (record["epoch"] - self._first + 1) * self._pairs
        text = f"loss {record['train_loss']:.4f} {self._last}"
        self._show(done, f"{self._label} {record['epoch']}/{self._epochs}", text)

    @abstractmethod
    def _begin(self, total: int) -> None:
        """Put up a bar for ``total`` pairs."""

    @abstractmethod
    def _show(self, done: int, description: str, text: str) -> None:
        """Move the bar, and change the texts on its left and right."""


class EpochBar(_Bar):
    """A bar per phase on a terminal.

    Args:
        progress: the display, from `epoch_progress`.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress, self._task = progress, TaskID(0)

    def on_choice(self, *, line: str) -> None:
        """Write what was chosen above the bars."""
        self._progress.console.print(line, markup=False, highlight=False)

    def on_phase_end(self, *, reason: str) -> None:
        """Leave the bar with what ended the phase."""
        self._progress.update(self._task, description=f"{self._label}: {reason}")
        if self._phase == _POSTERIOR:
            self._progress.update(self._task, told="")
        self._progress.stop_task(self._task)

    def _begin(self, total: int) -> None:
        self._task = self._progress.add_task(self._label, total=total, told="")

    def _show(self, done: int, description: str, text: str) -> None:
        self._progress.update(self._task, completed=done, description=description, told=text)


class NotebookBar(_Bar):
    """A bar per phase in a notebook's output: plain HTML, which needs no widgets and stays when saved."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[float, str, str]] = []
        self._total, self._drawn = 1, 0.0
        self._handle: Any = None

    def on_choice(self, *, line: str) -> None:
        """Show what was chosen."""
        self._rows.append((1.0, "choice", line))
        self._draw()

    def on_phase_end(self, *, reason: str) -> None:
        """Leave the bar with what ended the phase."""
        self._rows[-1] = (1.0, f"{self._label}: {reason}", self._rows[-1][2])
        self._draw()

    def _begin(self, total: int) -> None:
        self._total = max(total, 1)
        self._rows.append((0.0, self._label, ""))
        self._draw()

    def _show(self, done: int, description: str, text: str) -> None:
        self._rows[-1] = (done / self._total, description, text)
        if time.monotonic() - self._drawn >= _APART:
            self._draw()

    def _draw(self) -> None:
        display = import_module("IPython.display")  # a notebook has it

        cells = "".join(
            f'<tr><td style="text-align:left">{html.escape(description)}</td>'
            f'<td><progress value="{share:.3f}" max="1"></progress></td>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for share, description, text in self._rows
        )
        page = display.HTML(f"<table>{cells}</table>")
        if self._handle is None:
            self._handle = display.display(page, display_id=True)
        else:
            self._handle.update(page)
        self._drawn = time.monotonic()


def _metrics(record: Record, names: Sequence[str]) -> str:
    return " ".join(
        f"{name.replace('_', ' ')} {record[name]:.4f}" for name in names if record.get(name) is not None
    )
