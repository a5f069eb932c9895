"""Progress of a search, with the best value so far: a bar on a terminal, one line per trial elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import Progress, TaskID

from twotower.cli.output import log
from twotower.core.wording import count_of
from twotower.training import Callback, Record
from twotower.training.progress_bars import EpochBar, EpochLines, epoch_progress
from twotower.workflows.tuning.watching import Watcher

if TYPE_CHECKING:
    from twotower.evaluation import Measure
    from twotower.workflows.tuning import Budget, Trial


@contextmanager
def tuning_progress() -> Iterator[tuple[Watcher, list[Callback]]]:
    """Yield the display of the search and that of the final trainings."""
    if not sys.stderr.isatty():
        yield TrialLines(), [EpochLines(log)]
        return
    with epoch_progress() as progress:
        yield TrialBar(progress), [EpochBar(progress)]


class TrialLines(Watcher):
    """Prints one line per trial."""

    def begin(self, budget: Budget, measure: Measure) -> None:
        """Print the metric and the budget."""
        self._of = "" if budget.trials is None else f"/{budget.trials}"
        way = "highest" if measure.higher_is_better else "lowest"
        goal = f"searching for the {way} {measure.name} on the validation set"
        log(f"tune: {goal}, {_limits(budget)}; trial 0 is your config")

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """Print the trial and the best so far."""
        del seconds
        so_far = "" if best is None else f"; best {best.value:.4f}, trial {best.number}"
        became = f"trial {trial.number} {_became(trial)}"
        log(f"tune {trials}{self._of}: {became}{so_far}; {values_line(trial.values)}")

    def end(self, reason: str) -> None:
        """Print why the search ended."""
        log(f"tune: finished after {reason}")


class TrialBar(Watcher):
    """Shows a progress bar over the budget."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task = progress, TaskID(0)

    def begin(self, budget: Budget, measure: Measure) -> None:
        """Show the bar."""
        self._budget, self._metric = budget, measure.name
        total = 60.0 * budget.minutes if budget.minutes is not None else budget.trials
        self._best = f"{measure.name} ..."
        self._task = self._progress.add_task("tune", total=total, told="trial 0: your config")

    def trial(self, number: int, values: Mapping[str, Any]) -> None:
        """Show the trial's number."""
        del values
        self._progress.update(self._task, told=f"best {self._best}; trial {number}")
        self._number = number

    def epoch(self, record: Record) -> None:
        """Show the trial's epoch."""
        now = record.get(f"validation_{self._metric}")
        shown = "" if now is None else f" {now:.4f}"
        text = f"best {self._best}; trial {self._number} epoch {record['epoch']}{shown}"
        self._progress.update(self._task, told=text)

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """Advance the bar."""
        del trial
        if best is not None:
            self._best = f"{self._metric} {best.value:.4f} (trial {best.number})"
        done = seconds if self._budget.minutes is not None else trials
        of = "" if self._budget.trials is None else f"/{self._budget.trials}"
        self._progress.update(
            self._task, completed=done, description=f"tune {trials}{of}", told=f"best {self._best}"
        )

    def end(self, reason: str) -> None:
        """Stop the bar and show why the search ended."""
        self._progress.update(self._task, description=f"tune: {reason}")
        self._progress.stop_task(self._task)


def values_line(values: Mapping[str, Any]) -> str:
    """Return a trial's values on one line."""
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
    limits = [] if budget.trials is None else [f"at most {count_of(budget.trials, 'trial')}"]
    if budget.minutes is not None:
        limits.append(f"at most {budget.minutes:g} min")
    return ", ".join(limits)
