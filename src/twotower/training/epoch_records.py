"""The history of a training: a record of each epoch, as a file of JSON lines, as a frame and as a chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from twotower.core.atomic import disk_errors, write_text
from twotower.core.charts import ACCENT, REST, SECOND, Chart, lines_chart
from twotower.training.callback import Callback, Record

_PHASES = {"train": ACCENT, "posterior": SECOND, "refit": REST, "continued": REST}


def history_frame(history: Sequence[Record]) -> pl.DataFrame:
    """Return the records of all epochs as a frame, one row per epoch; what a phase lacks is null.

    Returns:
        Columns ``phase`` (``"train"``, ``"posterior"``, ``"refit"``, ``"continued"``), ``epoch``,
            ``seconds``, ``train_loss``, the ``validation_`` metrics, ``learning_rate``, ``pairs_per_second``,
            ``best``, and with ``model.kind = "auto"`` the ``kind``.
    """
    columns = list(dict.fromkeys(name for record in history for name in record))
    return pl.DataFrame({name: [record.get(name) for record in history] for name in columns}, strict=False)


def history_chart(history: Sequence[Record]) -> Chart:
    """Return a chart of the training loss and of each validation metric by epoch, the best epoch marked.

    Raises:
        MissingExtraError: the package that draws is not installed.
    """
    # by kind, and the last of each is the one that was kept
    best = {of.get("kind", ""): of["epoch"] for of in history if of.get("best") and of["phase"] == "train"}
    names = [
        name
        for name in dict.fromkeys(name for record in history for name in record)
        if name == "train_loss" or (name.startswith("validation_") and "popularity" not in name)
    ]
    rows: list[dict[str, Any]] = [
        {
            "group": ": ".join(filter(None, (record.get("kind"), name.replace("_", " ")))),
            "epoch": record["epoch"],
            "value": record[name],
            "phase": record["phase"],
            "best": record["phase"] == "train"
            and record["epoch"] == best.get(record.get("kind", ""))
            and name != "train_loss",
        }
        for name in names
        for record in history
        if record.get(name) is not None
    ]
    phases = {name: colour for name, colour in _PHASES.items() if any(row["phase"] == name for row in rows)}
    return lines_chart(rows, "Training history", phases)


class HistoryFile(Callback):
    """Writes one JSON line per epoch to a file, flushed at once so that the file can be watched.

    A resumed run drops the lines past the epoch it starts from: the interrupted run did not save these
    epochs, and they are trained again.

    Args:
        path: the file, such as ``history.jsonl``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self._kind = Path(path), ""

    def on_kind(self, *, kind: str) -> None:
        """Keep the lines of other kinds from now on."""
        self._kind = kind

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Keep the lines of earlier phases, and of this one those before ``first_epoch``."""
        del epochs, pairs
        if phase == "posterior":
            return  # it has no epochs, and follows the refit as well
        earlier = tuple(_PHASES)[: tuple(_PHASES).index(phase)]
        kept = [
            record
            for record in read_history(self.path)
            if record["phase"] in earlier
            or (record["phase"] == phase and record["epoch"] < first_epoch)
            or (record["phase"] == phase and record.get("kind", "") != self._kind)
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
