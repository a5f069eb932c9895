"""The duration of each interaction's item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.quantiles import quantiles
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.grouped import GroupedData
from twotower.errors import DataError


def durations(data: Dataset) -> NDArray[np.float64] | None:
    """Return the duration of each interaction's item, in the units of its column.

    The column ``schema.duration`` is taken from the interactions if it is there (logged with the event),
    otherwise joined from the items by id.

    Returns:
        (n,), nan where it is missing, infinite or not a number; None if the schema names no duration.

    Raises:
        DataError: neither table has the column.
    """
    schema = data.schema
    if schema.duration is None:
        return None
    if isinstance(data, GroupedData):
        return np.concatenate([durations(block) for block in data.blocks()])
    if schema.duration in data.interactions.columns:
        values = _numbers(data.interactions.get_column(schema.duration))
    elif schema.duration in data.items.columns:
        items = Vocabulary(data.items.get_column(schema.item))
        each = _numbers(data.items.get_column(schema.duration))
        values = items.take(each, data.interactions.get_column(schema.item), np.nan)
    else:
        raise DataError(
            f"schema.duration must name a column of the interactions or the items; neither has "
            f"{schema.duration!r}. Build the dataset with Dataset.of, which keeps that column"
        )
    return np.where(np.isfinite(values), values, np.nan)


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def duration_quantiles(data: Dataset, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles of the durations that are known, float64 (n_shares,); nan if none is."""

    def parts() -> Iterator[NDArray[np.float64]]:
        for block in data.blocks():
            found = durations(block)
            yield np.empty(0) if found is None else found

    return quantiles(parts, shares)
