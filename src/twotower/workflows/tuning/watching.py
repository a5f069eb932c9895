"""`Watcher`: receives the progress of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.evaluation import Measure
from twotower.training import Record
from twotower.workflows.tuning.budget import Budget
from twotower.workflows.tuning.trials import Trial


class Watcher:
    """Does nothing; subclass it to show progress."""

    def begin(self, budget: Budget, measure: Measure) -> None:
        """The search starts or resumes."""

    def trial(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial starts."""

    def epoch(self, record: Record) -> None:
        """An epoch of the trial is finished."""

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """A trial is finished; ``trials`` and ``seconds`` are the budget spent so far."""

    def end(self, reason: str) -> None:
        """The search is finished."""
