"""Columns of strings as numbers, dates and flags."""

from __future__ import annotations

from contextlib import suppress

import polars as pl
from polars.exceptions import PolarsError

from twotower.core.id_text import canonical

CODE = r"^\s*(?:\+|-?0)\d|^-0$|^-?\d{19,}$"
"""A whole number that is a code: a quantity would not be written this way."""


def converted(cells: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Return strings converted to a dtype, null if a value can't be converted."""
    if dtype == pl.Date:
        return cells.str.to_date("%Y-%m-%d", strict=False)
    if dtype == pl.Datetime:
        form = "%Y-%m-%d %H:%M:%S%.f"
        return cells.str.replace("T", " ", literal=True).str.to_datetime(form, strict=False).cast(dtype)
    if dtype == pl.Boolean:
        return cells.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    # pandas writes the integers of a column with gaps as floats
    return (cells.str.strip_suffix(".0") if dtype.is_integer() else cells).cast(dtype, strict=False)


def narrowed(cells: pl.Series) -> pl.Series:
    """Return strings as Int64, Float64 or Boolean if all of them are.

    Whole numbers that are too long, or written as codes (007, +7), stay strings.
    """
    if not cells.count():
        return cells
    for dtype in (pl.Int64, pl.Float64):
        if dtype == pl.Float64 and cells.str.contains(r"^[+-]?\d{16,}$").any():
            return cells
        with suppress(PolarsError):
            found = cells.cast(dtype)
            return cells if dtype == pl.Int64 and cells.str.contains(CODE).any() else found
    flags = cells.str.to_lowercase()
    return flags == "true" if flags.drop_nulls().is_in(["true", "false"]).all() else cells


def unpadded(cells: pl.Series, padded_name: bool, typed: bool) -> pl.Series:
    """Return strings without the spaces around them, if these are padding."""
    spaced = (cells.str.starts_with(" ") | cells.str.ends_with(" ")).fill_null(True)
    if cells.count() == 0 or not spaced.drop_nulls().any():
        return cells
    stripped = cells.str.strip_chars(" ")
    stripped = stripped.set(stripped == "", None)
    if not typed:
        numbers = narrowed(stripped)
        if numbers.dtype != pl.String:
            return numbers
    return stripped if padded_name or spaced.all() else cells


def whole_ids(ids: pl.Series) -> pl.Series:
    """Return ids as Int64 if all are integers, perhaps as pandas writes them (1.0); otherwise unchanged."""
    plain = ids.str.strip_suffix(".0")
    return plain.cast(pl.Int64) if canonical(plain).all() else ids
