"""Learning-rate schedule and early stopping."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from twotower.config import TrainingConfig


@dataclass
class Schedule:
    """Follows the validation loss: learning rate, best epoch and early stopping.

    Attributes:
        rate: learning rate of the next epoch.
        best: lowest validation loss so far.
        best_epoch: its epoch, counted from 1; 0 before the first.
        stale: epochs since the best one.
        since_cut: epochs since the best one or the last reduction of the rate.
    """

    config: TrainingConfig
    rate: float
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    since_cut: int = 0

    @classmethod
    def start(cls, config: TrainingConfig) -> Schedule:
        """Return the state before the first epoch."""
        return cls(config, config.learning_rate)

    def step_rate(self, done: float) -> float:
        """Return the rate of a step, where ``done`` is the completed share of all epochs."""
        if self.config.schedule == "cosine":
            return self.config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        return self.rate

    def observe(self, epoch: int, loss: float) -> bool:
        """Record the validation loss of an epoch; return whether it is the best so far."""
        if loss < self.best:
            self.best, self.best_epoch, self.stale, self.since_cut = loss, epoch, 0, 0
            return True
        self.stale += 1
        self.since_cut += 1
        if self.config.schedule == "plateau" and self.since_cut >= self.config.plateau_patience:
            self.rate *= self.config.plateau_factor
            self.since_cut = 0
        return False

    @property
    def stop(self) -> bool:
        """Whether validation has not improved for ``patience`` epochs."""
        return self.stale >= self.config.patience

    def state(self) -> dict[str, Any]:
        """Return the JSON form, without the config."""
        state = asdict(self)
        del state["config"]
        state["best"] = None if math.isinf(self.best) else self.best
        return state

    @classmethod
    def from_state(cls, config: TrainingConfig, state: dict[str, Any]) -> Schedule:
        """Rebuild from the JSON form."""
        return cls(config, **{**state, "best": math.inf if state["best"] is None else state["best"]})
