"""`Watcher`: what a search tells whoever looks on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.training import Record
from twotower.tuning.budget import Budget
from twotower.tuning.scoring import Measure
from twotower.tuning.trials import Trial


class Watcher:
    """Looks on and does nothing; subclass it to show something."""

    def begin(self, budget: Budget, measure: Measure) -> None:
        """The search begins, or goes on."""

    def trial(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial begins."""

    def epoch(self, record: Record) -> None:
        """An epoch of it is done."""

    def ended(self, trial: Trial, best: Trial | None, trials: int, seconds: float) -> None:
        """A trial is over; ``trials`` and ``seconds`` are what of the budget is spent."""

    def end(self, reason: str) -> None:
        """The search is over."""
