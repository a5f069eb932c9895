"""`Rate`: the learning rate of gradient training, by its schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twotower.training.gradients import GradientsConfig


@dataclass
class Rate:
    """The learning rate, by the schedule.

    Attributes:
        config: the settings.
        rate: of the next epoch, if the schedule has one a epoch.
        since_cut: epochs since the best one or the last reduction of the rate.
    """

    config: GradientsConfig
    rate: float
    since_cut: int = 0

    @classmethod
    def start(cls, config: GradientsConfig) -> Rate:
        """Return the state before the first epoch."""
        return cls(config, config.first_rate)

    def at(self, done: float) -> float:
        """Return the rate of a step, where ``done`` is the completed share of all epochs."""
        if self.config.schedule == "cosine":
            return self.config.first_rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        return self.rate

    def observe(self, *, best: bool) -> None:
        """Take note of whether an epoch was the best so far; at a plateau the rate is reduced."""
        self.since_cut = 0 if best else self.since_cut + 1
        if self.config.schedule == "plateau" and self.since_cut >= self.config.plateau_patience:
            self.rate *= self.config.plateau_factor
            self.since_cut = 0

    def state(self) -> dict[str, Any]:
        """Return the JSON form, without the settings."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "config"}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the JSON form."""
        self.rate, self.since_cut = state["rate"], state["since_cut"]
