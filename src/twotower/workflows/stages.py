"""The seconds that each stage of a run takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twotower.training import Callback

Log = Callable[[str], None]
"""Called with one line of progress at a time."""


def quiet(line: str) -> None:
    """Log nothing."""
    del line


class Stages:
    """A stopwatch for named stages; the times of a repeated stage are added."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds of a block towards the stage ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def __str__(self) -> str:
        each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} s ({each})"


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
