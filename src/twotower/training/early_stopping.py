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
        least: smallest share by which a loss must be better to count for that; any better one is the best.
        mark: loss of the last epoch that counted.
        best: lowest validation loss so far.
        best_epoch: its epoch, counted from 1; 0 before the first.
        stale: epochs since the last one that counted.
    """

    patience: int
    least: float = 0.0
    mark: float = math.inf
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0

    def observe(self, epoch: int, loss: float) -> bool:
        """Record the validation loss of an epoch; return whether it is the best so far."""
        better = loss < self.best
        if better:
            self.best, self.best_epoch = loss, epoch
        if better and (math.isinf(self.mark) or loss < self.mark - self.least * abs(self.mark)):
            self.mark, self.stale = loss, 0
        else:
            self.stale += 1
        return better

    @property
    def stop(self) -> bool:
        """Whether validation has not improved for ``patience`` epochs."""
        return self.stale >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **asdict(self),
            **{name: None if math.isinf(of) else of for name, of in self._losses().items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EarlyStopping:
        """Rebuild from the JSON form."""
        losses = {name: math.inf if state[name] is None else state[name] for name in ("best", "mark")}
        return cls(**{**state, **losses})

    def _losses(self) -> dict[str, float]:
        return {"best": self.best, "mark": self.mark}
