"""Display columns: the form they are kept in, and filters on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.reprs import named, shortened
from twotower.errors import DataError, nearest
from twotower.retrieval.filters import Where

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
PLAIN = (*_INTEGERS, pl.Float32, pl.Float64, pl.Boolean, pl.String)
"""Column types that JSON can hold."""
Rows = NDArray[np.int32]
Filters = Mapping[str, Any]
"""For each display column a value, a list of values of which one is enough, or a range ``{"min": ..., "max":
...}``, both included, of which one may be left out. A list in the column needs to hold the value."""


def as_plain(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with columns that JSON can't hold (dates, say) converted to text."""
    return table.with_columns(
        pl.Series(column.name, [None if v is None else str(v) for v in column.to_list()], dtype=pl.String)
        for column in table
        if not _is_plain(column.dtype)
    )


def as_displayed(table: pl.DataFrame) -> pl.DataFrame:
    """Return display columns as they are displayed: `as_plain`, and whole numbers as integers.

    A column that is also a feature holds floats by now: a year of 1994.0 is displayed as 1994.

    >>> as_displayed(pl.DataFrame({"year": [1994.0, None], "stars": [4.5, 3.0]})).rows()
    [(1994, 4.5), (None, 3.0)]
    """
    whole = [
        name
        for name in table.columns
        if table.schema[name].is_float() and _is_whole(table.get_column(name).fill_nan(None).drop_nulls())
    ]
    return as_plain(table).with_columns(pl.col(whole).fill_nan(None).cast(pl.Int64))


def _is_whole(numbers: pl.Series) -> bool:
    return bool(len(numbers)) and bool(((numbers.abs() < 2**53) & (numbers.round() == numbers)).all())


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_plain(dtype.inner)  # type: ignore[arg-type]
    return dtype in PLAIN


class FilterError(DataError):
    """A filter can't be applied: no such column, or a value or range that it can't have.

    Attributes:
        column: what the filter is on.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class ColumnFilters:
    """The display columns of a catalogue, searchable. A column's lookup is built once, when it is first used.

    Args:
        display: one row an item.
    """

    def __init__(self, display: pl.DataFrame) -> None:
        self._display = display
        self._values: dict[str, dict[Any, Rows]] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"ColumnFilters({named(self._display.columns) or ''})"

    def rows(self, filters: Filters) -> Rows:
        """Return the rows, ascending, that meet all filters.

        Raises:
            FilterError: there is no such column, or the filter doesn't fit its type.
        """
        found = np.arange(len(self._display), dtype=np.int32)
        for name, choice in filters.items():
            dtype = check(self._display.schema, name, choice)
            if isinstance(choice, Mapping):
                low, high = _bounds(choice)
                values = self._of_numbers(name)
                # nan, which is a missing value, lies in no range
                rows = np.flatnonzero((values >= low) & (values <= high)).astype(np.int32)
            else:
                places = self._of_values(name)
                parts = [places[key] for key in _keys(choice, dtype) if key in places]
                rows = np.unique(np.concatenate([np.empty(0, np.int32), *parts]))
            found = np.intersect1d(found, rows, assume_unique=True)
        return found

    def where(self, filters: Filters) -> Where:
        """Return filters, checked, for a search, which looks up their rows only if it needs them.

        Raises:
            FilterError: as `rows`.
        """
        for name, choice in filters.items():
            check(self._display.schema, name, choice)
        return Where(filters, lambda: self.rows(filters))

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


def check(schema: Mapping[str, pl.DataType], name: str, choice: Any) -> pl.DataType:
    """Return the type of a filter's column if the filter fits it.

    Raises:
        FilterError: there is no such column; a range of what is not a number; a value that is no plain one.
    """
    if name not in schema:
        listed = ", ".join(schema) or "none"
        raise FilterError(
            f"filters are on display columns; there is no {name!r}.{nearest(name, schema)} Columns: {listed}"
            "; others can be named in schema.display",
            name,
        )
    if isinstance(choice, Mapping):
        if not schema[name].is_numeric():
            raise FilterError(f"a range needs a column of numbers; {name!r} holds {schema[name]}", name)
        if not set(choice) <= {"min", "max"} or not all(map(_is_bound, choice.values())):
            raise FilterError(
                f"a range is {{'min': number, 'max': number}}, or one of them; for {name!r} got "
                f"{shortened(choice)}",
                name,
            )
    elif not all(isinstance(value, bool | str | int | float | np.generic) for value in _values(choice)):
        raise FilterError(
            f"a filter is a value, a list of values or a range {{'min': ..., 'max': ...}}; for {name!r} got "
            f"{shortened(choice)}",
            name,
        )
    return schema[name]


def meets(display: Mapping[str, Any], filters: Filters, schema: Mapping[str, pl.DataType]) -> bool:
    """Return whether one item's display columns meet all filters, which have been checked."""
    for name, choice in filters.items():
        value = display.get(name)
        if value is None:
            return False
        if isinstance(choice, Mapping):
            low, high = _bounds(choice)
            met = low <= value <= high
        else:
            own = value if isinstance(value, list) else [value]
            met = any(key in own for key in _keys(choice, schema[name]))
        if not met:
            return False
    return True


def _keys(choice: Any, dtype: pl.DataType) -> Iterable[Any]:
    """Return the values asked for that a column of this type can hold: 1 is not true, and "1" not 1."""
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    for given in _values(choice):
        value = given.item() if isinstance(given, np.generic) else given
        if isinstance(value, bool):
            fits = inner == pl.Boolean
        elif isinstance(value, str):
            fits = inner == pl.String
        else:
            fits = inner.is_numeric()
        if fits:
            yield value


def _values(choice: Any) -> list[Any]:
    one = isinstance(choice, str | np.generic) or not isinstance(choice, Iterable)
    return [choice] if one else list(choice)


def _is_bound(value: object) -> bool:
    plain = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return value is None or (plain and not math.isnan(value))  # type: ignore[arg-type]


def _bounds(choice: Mapping[str, Any]) -> tuple[float, float]:
    low, high = choice.get("min"), choice.get("max")
    return -np.inf if low is None else low, np.inf if high is None else high
