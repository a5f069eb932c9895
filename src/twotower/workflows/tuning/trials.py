"""`Trial`: one configuration that was tried, and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        number: from 0, the original config.
        state: ``complete``; ``pruned``, stopped early because most others were better at the same epoch, or
            because it could not be trained; ``failed``, interrupted, which is not counted.
        value: the metric on the validation set; for a pruned trial, at its last epoch (None if it has none).
        values: ``section.key`` -> value tried.
        seconds: duration.
        epochs: number of epochs trained.
        note: why it was pruned or failed.
    """

    number: int
    state: State
    value: float | None
    values: Mapping[str, Any]
    seconds: float
    epochs: int
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "value": self.value,
            "values": dict(self.values),
            "seconds": round(self.seconds, 3),
            "epochs": self.epochs,
            "note": self.note,
        }


def counted(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that a budget counts: complete and pruned ones."""
    return [trial for trial in trials if trial.state != "failed"]


def complete(trials: Sequence[Trial]) -> list[Trial]:
    """Return the complete trials."""
    return [trial for trial in trials if trial.state == "complete"]


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial | None:
    """Return the best complete trial (the earliest if tied), or None."""
    sign = -1.0 if maximise else 1.0
    ranked = sorted(complete(trials), key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    return ranked[0] if ranked else None
