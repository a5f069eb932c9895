"""`FitClock`: the time that a fit spends on encoding and on training."""

from __future__ import annotations

import time

from twotower.training import Callback
from twotower.workflows.stages import Stages


class FitClock(Callback):
    """Divides the time of a fit: training inside the phases, encoding outside."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self._since = time.perf_counter()

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Encoding ends, training begins."""
        del phase, epochs, first_epoch, pairs
        self.lap("encode")

    def on_phase_end(self, *, reason: str) -> None:
        """Training ends, encoding continues."""
        del reason
        self.lap("train")

    def lap(self, stage: str) -> None:
        """Count the time since the last lap towards a stage."""
        now = time.perf_counter()
        self.stages.add(stage, now - self._since)
        self._since = now
