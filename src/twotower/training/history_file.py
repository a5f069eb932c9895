"""`HistoryFile`: the records of all epochs as JSON lines, written while a model is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from twotower.core.atomic import disk_errors, write_text
from twotower.training.callback import Callback, Record

_PHASES = ("train", "posterior", "refit")


class HistoryFile(Callback):
    """Writes one JSON line per epoch to a file, flushed at once so that the file can be watched.

    A resumed run drops the lines past the epoch it starts from: the interrupted run did not save these
    epochs, and they are trained again.

    Args:
        path: the file, such as ``history.jsonl``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
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

    def on_epoch_end(self, record: Record) -> None:
        """Append one line."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(_line(record))


def read_history(path: Path) -> list[Record]:
    """Return the records of a history file, none if it does not exist; a line cut short is left out."""
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
