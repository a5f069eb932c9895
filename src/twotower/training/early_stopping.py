"""`EarlyStopping`: the best epoch so far, and when training stops."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """Follows the validation loss: best epoch and early stopping.

    Attributes:
        patience: epochs without a better loss before training stops.
        best: lowest validation loss so far.
        best_epoch: its epoch, counted from 1; 0 before the first.
        stale: epochs since the best one.
    """

    patience: int
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0

    def observe(self, epoch: int, loss: float) -> bool:
        """Record the validation loss of an epoch; return whether it is the best so far."""
        if loss < self.best:
            self.best, self.best_epoch, self.stale = loss, epoch, 0
            return True
        self.stale += 1
        return False

    @property
    def stop(self) -> bool:
        """Whether validation has not improved for ``patience`` epochs."""
        return self.stale >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "best": None if math.isinf(self.best) else self.best}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EarlyStopping:
        """Rebuild from the JSON form."""
        return cls(**{**state, "best": math.inf if state["best"] is None else state["best"]})
