"""Filters of a request: those of the library, within the server's limits and with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.recommender.display import ColumnFilters, FilterError
from twotower.server.bodies import Choice, Range
from twotower.server.errors import ApiError


def plain(filters: Mapping[str, Choice], schema: Mapping[str, pl.DataType], most: int) -> dict[str, Any]:
    """Return filters as `ColumnFilters` takes them.

    Raises:
        ApiError: a filter on a display column has more than ``most`` values.
    """
    for name, choice in filters.items():
        if name in schema and isinstance(choice, list) and len(choice) > most:
            raise ApiError(422, f"a filter takes at most {most} values; got {len(choice)}", f"filters.{name}")
    return {
        name: choice.model_dump() if isinstance(choice, Range) else choice for name, choice in filters.items()
    }


def rows_of(columns: ColumnFilters, filters: Mapping[str, Any]) -> NDArray[np.int32]:
    """Return the rows, ascending, that meet all filters.

    Raises:
        ApiError: there is no such column, or the filter doesn't fit its type.
    """
    try:
        return columns.rows(filters)
    except FilterError as error:
        raise ApiError(422, str(error), f"filters.{error.column}") from None
