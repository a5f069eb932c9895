"""The history of a training, as a frame and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from twotower.core.charts import ACCENT, REST, SECOND, Chart, lines_chart
from twotower.training.callback import Record

_PHASES = {"train": ACCENT, "posterior": SECOND, "refit": REST}


def history_frame(history: Sequence[Record]) -> pl.DataFrame:
    """Return the records of all epochs as a frame, one row per epoch; what a phase lacks is null.

    Returns:
        Columns ``phase`` (``"train"``, ``"posterior"``, ``"refit"``), ``epoch``, ``seconds``, ``train_loss``,
            the ``validation_`` metrics, ``learning_rate``, ``pairs_per_second``, ``best``.
    """
    columns = list(dict.fromkeys(name for record in history for name in record))
    return pl.DataFrame({name: [record.get(name) for record in history] for name in columns}, strict=False)


def history_chart(history: Sequence[Record]) -> Chart:
    """Return a chart of the training loss and of each validation metric by epoch, the best epoch marked.

    Raises:
        MissingExtraError: the package that draws is not installed.
    """
    best = {(of["phase"], of["epoch"]) for of in history if of.get("best")}
    last = max((epoch for phase, epoch in best if phase == "train"), default=None)
    names = [
        name
        for name in dict.fromkeys(name for record in history for name in record)
        if name == "train_loss" or (name.startswith("validation_") and "popularity" not in name)
    ]
    rows: list[dict[str, Any]] = [
        {
            "group": name.replace("_", " "),
            "epoch": record["epoch"],
            "value": record[name],
            "phase": record["phase"],
            "best": record["phase"] == "train" and record["epoch"] == last and name != "train_loss",
        }
        for name in names
        for record in history
        if record.get(name) is not None
    ]
    phases = {name: colour for name, colour in _PHASES.items() if any(row["phase"] == name for row in rows)}
    return lines_chart(rows, "Training history", phases)
