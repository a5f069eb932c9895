"""The epochs of a training, read for curves and for the doctor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twotower.evaluation.validator import NDCG, RMSE

_CHOSEN_BY = (f"validation_{NDCG.name}", f"validation_{RMSE.name}", "validation_loss")
"""What epochs are chosen by, the first that the records have."""

Record = Mapping[str, Any]


def by_kind(history: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each kind of towers, in the order of training; all under "" if none is named."""
    found: dict[str, list[Record]] = {}
    for record in history:
        found.setdefault(record.get("kind", ""), []).append(record)
    return found


def epochs_of(history: Sequence[Record], phase: str) -> list[Record]:
    """Return the records of one phase, ``"train"`` or ``"refit"``."""
    return [record for record in history if record.get("phase") == phase]


def chosen_by(history: Sequence[Record]) -> str | None:
    """Return the metric that epochs were chosen by; None if none was measured."""
    epochs = epochs_of(history, "train")
    return next((name for name in _CHOSEN_BY if epochs and epochs[0].get(name) is not None), None)


def best_epoch(history: Sequence[Record]) -> int | None:
    """Return the number of the epoch whose weights were kept."""
    return next((record["epoch"] for record in reversed(history) if record.get("best")), None)
