"""The duration of the item of each interaction, wherever the data has it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.dataset import Dataset
from twotower.errors import DataError


def durations(data: Dataset) -> NDArray[np.float64] | None:
    """Return durations float64 (n,), nan where missing; None if the schema names no duration column.

    The interactions' own column comes before the items': a re-uploaded or cut video has the duration it had when
    it was watched.
    """
    column = data.schema.duration
    if column is None:
        return None
    if column in data.interactions.columns:
        values = data.interactions.get_column(column)
    elif column in data.items.columns:
        item = data.schema.item
        found = data.interactions.select(item).join(
            data.items.select(item, column), on=item, how="left", maintain_order="left"
        )
        values = found.get_column(column)
    else:
        raise DataError(
            f"schema.duration names the column {column!r}, which neither interactions nor items have; "
            "interactions have " + ", ".join(data.interactions.columns)
        )
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
