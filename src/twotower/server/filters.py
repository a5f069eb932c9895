"""Filters on display columns: which items have a value, one of several, or lie in a range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.errors import nearest
from twotower.server.errors import ApiError
from twotower.server.models import Choice, Range

Rows = NDArray[np.int32]


class Columns:
    """The display columns of the trained items, searchable; what was looked up once is kept."""

    def __init__(self, display: pl.DataFrame) -> None:
        self._display = display
        self._values: dict[str, dict[Any, Rows]] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self._lock = Lock()

    def rows(self, filters: Mapping[str, Choice], most: int) -> Rows:
        """Return the rows, ascending, that meet all filters.

        Raises:
            ApiError: there is no such column, or it can't be asked this.
        """
        found: Rows | None = None
        for name, choice in filters.items():
            dtype = check(self._display.schema, name, choice, most)
            if isinstance(choice, Range):
                values = self._of_numbers(name)
                # nan, which is a missing value, lies in no range
                inside = (values >= _low(choice)) & (values <= _high(choice))
                rows = np.flatnonzero(inside).astype(np.int32)
            else:
                places = self._of_values(name)
                parts = [places[key] for key in _keys(choice, dtype) if key in places]
                rows = np.unique(np.concatenate([np.empty(0, np.int32), *parts]))
            found = rows if found is None else np.intersect1d(found, rows, assume_unique=True)
        return np.empty(0, np.int32) if found is None else found

    def _of_values(self, name: str) -> dict[Any, Rows]:
        with self._lock:
            if name not in self._values:
                column = self._display.get_column(name).alias("value").to_frame().with_row_index("row")
                if isinstance(column.schema["value"], pl.List):
                    column = column.explode("value").unique(maintain_order=True)
                groups = column.drop_nulls("value").group_by("value").agg(pl.col("row").sort())
                self._values[name] = {
                    value: rows.to_numpy().astype(np.int32)
                    for value, rows in zip(groups["value"].to_list(), groups["row"], strict=True)
                }
            return self._values[name]

    def _of_numbers(self, name: str) -> NDArray[np.float64]:
        with self._lock:
            if name not in self._numbers:
                column = self._display.get_column(name).cast(pl.Float64).fill_null(np.nan)
                self._numbers[name] = column.to_numpy()
            return self._numbers[name]


def check(schema: Mapping[str, pl.DataType], name: str, choice: Choice, most: int) -> pl.DataType:
    """Return the type of a filter's column, having made sure that the filter can be asked.

    Raises:
        ApiError: there is no such column; too many values, or a range of what is no number.
    """
    where = f"filters.{name}"
    if name not in schema:
        listed = ", ".join(schema) or "none"
        raise ApiError(
            422,
            f"filters are on display columns; there is no {name!r}.{nearest(name, schema)} Columns: {listed}",
            where,
        )
    if isinstance(choice, Range) and not schema[name].is_numeric():
        raise ApiError(422, f"a range needs a column of numbers; {name!r} holds {schema[name]}", where)
    if isinstance(choice, list) and len(choice) > most:
        raise ApiError(422, f"a filter takes at most {most} values; got {len(choice)}", where)
    return schema[name]


def meets(
    display: Mapping[str, Any], filters: Mapping[str, Choice], schema: Mapping[str, pl.DataType]
) -> bool:
    """Return whether one item's display columns meet all filters (checked ones)."""
    for name, choice in filters.items():
        value = display.get(name)
        if value is None:
            return False
        if isinstance(choice, Range):
            met = _low(choice) <= value <= _high(choice)
        else:
            own = value if isinstance(value, list) else [value]
            met = any(key in own for key in _keys(choice, schema[name]))
        if not met:
            return False
    return True


def _keys(choice: Any, dtype: pl.DataType) -> Iterable[Any]:
    """Return the values asked for that a column of this type can hold: 1 is no true, and "1" no 1."""
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    for value in choice if isinstance(choice, list) else [choice]:
        if isinstance(value, bool):
            fits = inner == pl.Boolean
        elif isinstance(value, str):
            fits = inner == pl.String
        else:
            fits = inner.is_numeric()
        if fits:
            yield value


def _low(choice: Range) -> float:
    return -np.inf if choice.min is None else choice.min


def _high(choice: Range) -> float:
    return np.inf if choice.max is None else choice.max
