"""What the training loop tells whoever listens: a progress bar, a log file, a test."""

from __future__ import annotations

from typing import Any, Protocol

Record = dict[str, Any]
"""One line of ``history.jsonl``: phase, epoch, seconds, losses, validation metrics, rate, pairs a second."""


class Listener(Protocol):
    """Receives the events of a training run: start, (step..., epoch)..., end; twice with a refit.

    Where ids get their posterior means, a phase "posterior" of one pass and no ``epoch`` follows each.
    """

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """A phase ("train", "posterior", "refit") begins, at ``first_epoch``: above 1 after a resume."""

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """A step is done; ``pairs_done`` counts within the epoch; a posterior has no loss, nan."""

    def epoch(self, record: Record) -> None:
        """An epoch is done."""

    def end(self, *, reason: str) -> None:
        """The phase is over: "early stopping", "all epochs" or "interrupted"; a posterior: was it better."""


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
