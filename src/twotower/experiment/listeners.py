"""Listeners of an experiment: the history file, the clock of encoding and training, and several as one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from twotower.atomic import disk_errors, write_text
from twotower.experiment.stages import Stages
from twotower.training.listener import Listener, Record, Silent

_PHASES = ("train", "posterior", "refit")


class HistoryFile(Silent):
    """Appends one line an epoch to ``history.jsonl``, each flushed so that the file can be watched.

    Lines past the epoch that a phase starts from are dropped: they are of epochs that a broken run did not
    save, and will come again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Keep the lines of earlier phases, and of this one those before ``first_epoch``."""
        del epochs, pairs
        if phase == "posterior":
            return  # it has no epochs, and follows the refit as well
        earlier = _PHASES[: _PHASES.index(phase)]
        kept = [
            record
            for record in read_history(self.path)
            if record["phase"] in earlier or (record["phase"] == phase and record["epoch"] < first_epoch)
        ]
        write_history(self.path, kept)

    def epoch(self, record: Record) -> None:
        """Append one line."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(_line(record))


class FitClock(Silent):
    """Divides the time of a fit: outside the phases it is encoding, within them it is training."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self._since = time.perf_counter()

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Encoding is over, training begins."""
        del phase, epochs, first_epoch, pairs
        self.lap("encode")

    def end(self, *, reason: str) -> None:
        """Training is over, what follows is encoding."""
        del reason
        self.lap("train")

    def lap(self, stage: str) -> None:
        """Count the time since the last lap towards a stage."""
        now = time.perf_counter()
        self.stages.add(stage, now - self._since)
        self._since = now


class Several:
    """Tells several listeners, in their order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners

    def start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.start(phase=phase, epochs=epochs, first_epoch=first_epoch, pairs=pairs)

    def step(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.step(epoch=epoch, pairs_done=pairs_done, loss=loss)

    def epoch(self, record: Record) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.epoch(record)

    def end(self, *, reason: str) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.end(reason=reason)


def read_history(path: Path) -> list[Record]:
    """Return the records of a history file; none without the file, and no line that a crash cut short."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # only the last line can be torn
        records.append(record)
    return records


def write_history(path: Path, records: Sequence[Record]) -> None:
    """Write a whole history file, atomically."""
    write_text(path, "".join(map(_line, records)))


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
