"""The seconds that each stage of a run takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
        self._events: list[tuple[float, Any]] = []

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Count the seconds in which kernels are compiled towards "compile", whatever stage needs them.

        They are compiled once on a machine, and kept.
        """
        from numba.core.event import install_recorder  # noqa: PLC0415  (brings numba)

        with install_recorder("numba:compile") as recorder:
            self._events = recorder.buffer  # (time, start or end of one compilation), in order
            try:
                yield
            finally:
                self._events = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds of a block towards the stage ``name``."""
        with self.compiling():
            start = time.perf_counter()
            try:
                yield
            finally:
                self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds measured elsewhere."""
        compiled = min(_covered(self._events), seconds)
        self._events.clear()
        for stage, spent in (("compile", compiled), (name, seconds - compiled)):
            if spent or stage == name:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def __str__(self) -> str:
        each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} s ({each})"


def _covered(events: Sequence[tuple[float, Any]]) -> float:
    """Return the seconds from starts to their ends; a compilation within another counts once."""
    depth, seconds, start = 0, 0.0, 0.0
    for at, event in events:
        if event.is_start:
            start = start if depth else at
            depth += 1
        elif depth:
            depth -= 1
            seconds += 0.0 if depth else at - start
    return seconds


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
