"""What the training loop tells whoever listens: a progress bar, a log file, a test."""

from __future__ import annotations

from typing import Any, Protocol

Record = dict[str, Any]
"""One line of ``history.jsonl``: phase, epoch, seconds, losses, validation metrics, rate, pairs a second."""


class Listener(Protocol):
    """Receives the events of a training run: start, (step..., epoch)..., end; twice with a refit."""

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """A phase ("train" or "refit") begins; epochs counted from 1, ``first_epoch`` > 1 after a resume."""

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """A step is done; ``pairs_done`` counts within the epoch."""

    def epoch(self, record: Record) -> None:
        """An epoch is done."""

    def end(self, *, reason: str) -> None:
        """The phase is over: "early stopping", "all epochs" or "interrupted"."""


class Silent:
    """A listener that does nothing."""

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Do nothing."""

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Do nothing."""

    def epoch(self, record: Record) -> None:
        """Do nothing."""

    def end(self, *, reason: str) -> None:
        """Do nothing."""
