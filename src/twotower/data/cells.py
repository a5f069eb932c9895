"""Columns of strings as numbers, dates and flags."""

from __future__ import annotations

import polars as pl

CODE = r"^\s*(?:\+|-?0)\d|^-0$"
"""A whole number that is a code: a quantity would not be written this way."""
POWER = r"[eE]|^\s*(?:\+|-?0)\d|^-0(?:\.0*)?$|\d{16,}"
"""A number that is an id and would be written back differently."""
WORDS = r"^[+-]?(?:NaN|inf)$|\d"
"""What is not finite among numbers: these words and numbers that are too large. Words like nan are text."""


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


def by_values(cells: pl.Series, padded_name: bool = False, *, ids: bool = False) -> pl.Series:
    """Return the strings of a column in the type of its values: as `narrowed`, else as `unpadded`."""
    found = narrowed(cells, ids=ids)
    return unpadded(found, padded_name, ids=ids) if found.dtype == pl.String else found


def narrowed(cells: pl.Series, *, ids: bool = False) -> pl.Series:
    """Return strings as Int64, Float64 or Boolean if all of them are.

    Whole numbers that are too long, or written as codes (007, +7), stay strings. So do ids if one of them is
    written as a power (1e5), but whole ids as pandas writes them (1.0) become Int64.
    """
    first = cells.filter(cells.is_not_null()).head(1)
    for dtype in (pl.Int64, pl.Float64, pl.Boolean):
        if not first.is_empty() and _as(dtype, first).count():  # columns of text end at their first value
            found = _as(dtype, cells)
            if found.count() == cells.count():
                return _written_back(cells, found, ids)
    return cells


def _as(dtype: type[pl.DataType], cells: pl.Series) -> pl.Series:
    return converted(cells, dtype) if dtype == pl.Boolean else cells.cast(dtype, strict=False)


def _written_back(cells: pl.Series, found: pl.Series, ids: bool) -> pl.Series:
    """Return the numbers that strings are, or the strings if they would be written back differently."""
    longest = cells.str.len_bytes().max()
    assert isinstance(longest, int)
    if found.dtype.is_integer():
        some = cells if longest > 18 else cells.filter((cells < "1") & (cells != "0"))  # of +1, -0, 01
        return cells if some.str.contains(CODE).any() else found
    if found.dtype.is_float():
        words = cells.filter(~found.is_finite())
        if not words.str.contains(WORDS).all() or (longest > 18 and cells.str.contains(r"^[+-]?\d+$").all()):
            return cells
        if ids and cells.str.contains(POWER).any():
            plain = cells.str.strip_suffix(".0")
            whole = plain.cast(pl.Int64, strict=False)
            return whole if whole.cast(pl.String).equals(plain) else cells
    return found


def unpadded(cells: pl.Series, padded_name: bool, *, typed: bool = False, ids: bool = False) -> pl.Series:
    """Return strings without the spaces around them if these are padding, as numbers or flags if all are.

    Spaces among numbers are null.

    Args:
        cells: n strings.
        padded_name: whether the name of the column had spaces, too.
        typed: whether they stay strings.
        ids: as in `narrowed`.
    """
    first = without_spaces(cells.filter(cells.is_not_null()).head(100)).drop_nulls().head(1)
    if not typed and (
        first.is_empty() or any(_as(dtype, first).count() for dtype in (pl.Float64, pl.Boolean))
    ):
        stripped = without_spaces(cells)
        numbers = narrowed(stripped, ids=ids)
        if numbers.dtype != pl.String or _as(pl.Float64, stripped).count() == stripped.count() > 0:
            return numbers
    spaced = cells.str.starts_with(" ") | cells.str.ends_with(" ")
    if not spaced.any() or not (padded_name or spaced.drop_nulls().all()):
        return cells
    return without_spaces(cells, " ")


def without_spaces(cells: pl.Series, spaces: str = " \t\r") -> pl.Series:
    """Return n strings without the spaces around them, null if nothing is left."""
    stripped = cells.str.strip_chars(spaces)
    return stripped.set(stripped == "", None)
