"""`Trial`: one configuration that was tried, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A trial that is over.

    Attributes:
        number: from 0, the given config.
        state: ``complete``; ``pruned``, given up since it did worse than most at the same epoch, or could not
            be trained; ``failed``, cut off by something else than its own worth, which counts for nothing.
        value: the metric on the validation part; of a pruned trial that of its last epoch, None without one.
        values: ``section.key`` -> what was tried.
        seconds: how long it took.
        epochs: how many epochs it was trained for.
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
        """Return it for JSON."""
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
    """Return the trials that a budget counts: those that came to an end of their own."""
    return [trial for trial in trials if trial.state != "failed"]


def complete(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that were trained to their end."""
    return [trial for trial in trials if trial.state == "complete"]


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial | None:
    """Return the best complete trial, the earliest of equals; None if there is none."""
    sign = -1.0 if maximise else 1.0
    ranked = sorted(complete(trials), key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    return ranked[0] if ranked else None
