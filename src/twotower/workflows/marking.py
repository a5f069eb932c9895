"""`mark_of`: which events of stores a training set may have, and how late its interactions are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from twotower.config import Config
from twotower.core.urls import is_url
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.data.store import StoredTrain
from twotower.data.table_files import files_of_table
from twotower.errors import DataError
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.workflows.event_table import mark_in


def mark_of(config: Config, parts: Parts) -> TrainedUpTo:
    """Return the mark of a config's tables: that of exported events among them, and the last time."""
    times = [last_time(part) for part in (parts.train, parts.validation)]
    found = TrainedUpTo(time=max((one for one in times if one is not None), default=None))
    data, split = config.data, config.split
    if data.events is not None:
        found = found.joined(mark_in(data.events))
    for table in (data.interactions, split.train, split.validation):
        if isinstance(table, str) and not is_url(table) and data.source == "tables":
            for path in _files(table):
                if path.suffix == ".parquet":
                    # The other tables may still have the users that were deleted from the store.
                    found = found.joined(replace(mark_in(path), erased={}))
    return found


def _files(table: str) -> list[Path]:
    """Return the files of a table on this machine; none where the sets were given and there is no table."""
    try:
        return [file.path for file in files_of_table(table) if isinstance(file.path, Path)]
    except DataError:
        return []


def last_time(part: Dataset) -> float | None:
    """Return the latest time of interactions, seconds since 1970; None without times."""
    if part.schema.timestamp is None:
        return None
    times = part.events.columns.get("time") if isinstance(part, StoredTrain) else part.times()
    if times is None or not len(times):
        return None
    latest = float(np.fmax.reduce(times))
    return latest if np.isfinite(latest) else None
