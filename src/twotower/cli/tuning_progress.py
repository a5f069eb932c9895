"""How far a search has come, with the best so far: a bar on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import Progress, TaskID

from twotower.cli.output import log
from twotower.training import Callback, Record
from twotower.training.progress import EpochBar, EpochLines, epoch_progress
from twotower.tuning.watching import Watcher

if TYPE_CHECKING:
    from twotower.tuning import Budget, Measure, Trial


@contextmanager
def tuning_progress() -> Iterator[tuple[Watcher, list[Callback]]]:
    """Give what shows a search, and what shows the trainings after it."""
    if not sys.stderr.isatty():
        yield TrialLines(), [EpochLines(log)]
        return
    with epoch_progress() as progress:
        yield TrialBar(progress), [EpochBar(progress)]


class TrialLines(Watcher):
    """Prints one line a trial."""

    def begin(self, budget: Budget, measure: Measure) -> None:
        """Say what is searched for."""
        self._of = "" if budget.trials is None else f"/{budget.trials}"
        way = "highest" if measure.maximise else "lowest"
        log(f"tune: looking for the {way} {measure.name} on the validation part, {_limits(budget)}")

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """Print the trial and the best so far."""
        del seconds
        so_far = "" if best is None else f"; best {best.value:.4f}, trial {best.number}"
        log(f"tune {trials}{self._of}: {_became(trial)}{so_far}; {values_line(trial.values)}")

    def end(self, reason: str) -> None:
        """Say why it is over."""
        log(f"tune: over after {reason}")


class TrialBar(Watcher):
    """Moves a bar over the budget."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task = progress, TaskID(0)

    def begin(self, budget: Budget, measure: Measure) -> None:
        """Put up the bar."""
        self._budget, self._metric = budget, measure.name
        total = 60.0 * budget.minutes if budget.minutes is not None else budget.trials
        self._best = f"{measure.name} ..."
        self._task = self._progress.add_task("tune", total=total, told="the given config first")

    def trial(self, number: int, values: Mapping[str, Any]) -> None:
        """Name the trial."""
        del values
        self._progress.update(self._task, told=f"best {self._best}; trial {number}")
        self._number = number

    def epoch(self, record: Record) -> None:
        """Show where the trial is."""
        now = record.get(f"validation_{self._metric}")
        shown = "" if now is None else f" {now:.4f}"
        text = f"best {self._best}; trial {self._number} epoch {record['epoch']}{shown}"
        self._progress.update(self._task, told=text)

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """Move the bar."""
        del trial
        if best is not None:
            self._best = f"{self._metric} {best.value:.4f} (trial {best.number})"
        done = seconds if self._budget.minutes is not None else trials
        of = "" if self._budget.trials is None else f"/{self._budget.trials}"
        self._progress.update(
            self._task, completed=done, description=f"tune {trials}{of}", told=f"best {self._best}"
        )

    def end(self, reason: str) -> None:
        """Leave the bar with what ended it."""
        self._progress.update(self._task, description=f"tune: {reason}")
        self._progress.stop_task(self._task)


def values_line(values: Mapping[str, Any]) -> str:
    """Return the values of a trial in a line."""
    return ", ".join(
        f"{key.split('.')[1]} {value:.4g}" if isinstance(value, float) else f"{key.split('.')[1]} {value}"
        for key, value in values.items()
    )


def _became(trial: Trial) -> str:
    took = f"{trial.seconds:.1f} s"
    if trial.state == "complete":
        return f"{trial.value:.4f} in {took}"
    return f"{trial.state} ({trial.note}) after {took}" if trial.state == "pruned" else trial.note


def _limits(budget: Budget) -> str:
    limits = [] if budget.trials is None else [f"at most {budget.trials} trials"]
    if budget.minutes is not None:
        limits.append(f"at most {budget.minutes:g} minutes")
    return ", ".join(limits)
