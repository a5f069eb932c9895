"""Parse one column: ids, numbers, levels and times. The kinds of `twotower.features` read others.

Each function takes a Polars series of n values and a `Where`, and returns n values of one dtype. A valid
column takes a few vectorised passes; the invalid row is searched for only if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from twotower.config.schema import IdType, Reading
from twotower.core.where import Found, Unreadable, Where
from twotower.data import number_text, time_text

_EXACT = 2**53
"""Whole floats beyond this are no longer exact: two ids may have become one."""


UNKNOWN = "Correct the value, or leave it empty if it is unknown"
"""How to fix a number."""
AS_FOUND = Reading()
"""Nothing is specified: how a column is read is detected."""


def parse_ids(values: pl.Series, where: Where, as_type: IdType = "auto") -> pl.Series:
    """Return ids as integers or strings (whole floats as Int64, categoricals as String).

    Args:
        values: n ids.
        where: their table and column.
        as_type: ``text`` for strings always, ``integer`` for Int64 (``007`` is then 7).

    Raises:
        DataError: a null or empty id, a boolean, a float with a fraction or too large to be exact, or text
            where integers are required.
    """
    rule = "an id must be an integer or a string"
    fix = "Give every row an id, or drop the rows without one"
    values = plain(values)
    if values.dtype == pl.Null:
        values = values.cast(pl.Int64)
    where.refuse(values.is_null(), values, "every row needs an id", fix)
    if values.dtype == pl.String:
        where.refuse(values == "", values, "every row needs an id", fix)
        if as_type == "integer":
            numbers = values.str.strip_chars().str.strip_suffix(".0").cast(pl.Int64, strict=False)
            rule = "these ids must be integers according to the schema"
            where.refuse(numbers.is_null(), values, rule, "Set the type to 'text' there")
            return numbers
    elif values.dtype.is_float() or values.dtype.is_decimal():
        values = whole_numbers(values, where, rule, "Write whole numbers, or quote the ids as strings")
    elif values.dtype in _WIDE:
        values = within_int64(values, where, rule)
    elif not values.dtype.is_integer():
        raise where.wrong_type(
            rule, values, "Name the column that holds the ids, or cast it to integers or strings"
        )
    return values.cast(pl.String) if as_type == "text" else values


def missing_ids(values: pl.Series) -> pl.Series:
    """Return which of n ids are missing: null, nan or empty."""
    missing = values.is_null()
    if values.dtype.is_float():
        return missing | values.is_nan().fill_null(False)
    return missing | (values == "").fill_null(False) if values.dtype == pl.String else missing


def parse_number(
    values: pl.Series,
    where: Where,
    reading: Reading = AS_FOUND,
    found: Found | None = None,
    *,
    what: str = "a number",
    fix: str = UNKNOWN,
) -> pl.Series:
    """Return Float64, where null means missing: NaN and empty strings are null.

    Strings are read by `twotower.data.number_text`: with decimal commas, grouped thousands or a unit, if the
    whole column is written that way. ``NA`` and similar words are missing.

    Raises:
        DataError: an infinity, a string that is not a number or is written differently from the others, a
            column of dates or lists.
    """
    rule = f"{what} must be a finite number"
    raw, values = values, plain(values)
    if values.dtype == pl.String:
        try:
            numbers = number_text.read_numbers(values, reading)
        except Unreadable as error:
            raise where.unreadable(rule, error, raw) from None
        values = numbers.values
        if found is not None:
            if numbers.reading.given and numbers.reading != reading:
                row = values.is_not_null().arg_max() or 0
                found.add(
                    where, number_text.said(numbers.reading, raw[row], values[row]), **numbers.reading.given
                )
            found.count(where, "read {count} such as NA as missing", "value", numbers.missing)
    elif not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise where.wrong_type(rule, values, "Name a numeric column, or another kind for this one")
    given_floats = values.dtype.is_float()
    values = values.cast(pl.Float64)
    if given_floats and not values.is_finite().all():
        values = values.fill_nan(None)
        where.refuse(values.is_infinite(), raw, rule, fix)
    return values


def parse_levels(values: pl.Series, levels: Sequence[str], where: Where) -> pl.Series:
    """Return the position of each value among the levels, from 1, as Float64; null means missing.

    Floats are taken as positions already.

    Raises:
        DataError: a value is not one of the levels.
    """
    places = {level: float(place) for place, level in enumerate(levels, 1)}
    if values.dtype.is_float():
        known = values.is_in(list(places.values()))
        found = values.cast(pl.Float64)
    else:
        found = (
            values.cast(pl.String)
            .str.strip_chars()
            .replace_strict(places, default=None, return_dtype=pl.Float64)
        )
        known = found.is_not_null()
    rule = f"the label must be one of the levels {', '.join(levels)}"
    fix = "Correct the value, or add it to [schema] levels at its position"
    where.refuse(~known & values.is_not_null(), values, rule, fix)
    return found


def parse_timestamp(
    values: pl.Series,
    where: Where,
    reading: Reading = AS_FOUND,
    found: Found | None = None,
    *,
    events: bool = False,
) -> pl.Series:
    """Return Float64 seconds since 1970-01-01 UTC; null means no time.

    Dates are midnight UTC, datetimes without a zone are read as UTC. Numbers are seconds, milliseconds,
    microseconds or nanoseconds by their size, or dates such as 20210415. Strings are numbers, ISO 8601
    (``2020-07-05``, ``2020-07-05 00:08:23.4 UTC``, ``2020-07-05T00:08:23+08:00``, ``2020/07/05``), or dates
    in another format if all rows have it; see `twotower.data.time_text`.

    Raises:
        DataError: an infinite number, a string that is not a time, a value in another unit than the others,
            an ambiguous order of day and month, a boolean or a list.
    """
    raw, values = values, plain(values)
    if isinstance(values.dtype, pl.Datetime):
        per_second = {"ms": 1e3, "us": 1e6, "ns": 1e9}[values.dtype.time_unit]
        return values.to_physical().cast(pl.Float64) / per_second
    if values.dtype == pl.Date:
        return values.to_physical().cast(pl.Float64) * 86400.0
    rule = "a timestamp must be a number, a date or an ISO datetime"
    if not (values.dtype == pl.String or values.dtype.is_numeric() or values.dtype == pl.Null):
        raise where.wrong_type(rule, values, "Name a column of times, or another kind for this one")
    try:
        times = time_text.read_times(values, reading.format, events=events)
    except Unreadable as error:
        finite = "a timestamp must be a finite number"
        raise where.unreadable(finite if str(error) == finite else rule, error, raw) from None
    if found is not None:
        if times.format not in ("s", "iso"):
            row = times.values.is_not_null().arg_max() or 0
            said = time_text.said(times.format, raw[row], times.values[row] or 0.0)
            found.add(where, f"times are {said}", format=times.format)
        found.count(where, "read {count} such as NA as missing", "value", times.missing)
        if times.format == "iso":
            said = "read {count} without a time zone as UTC, beside others with one"
            found.count(where, said, "time", time_text.zoneless(values))
    return times.values.alias(raw.name)


_WIDE = (pl.UInt64, pl.Int128, pl.UInt128)
"""Integer dtypes with values beyond Int64."""


def plain(values: pl.Series) -> pl.Series:
    """Return categoricals as strings; any other series unchanged."""
    return values.cast(pl.String) if isinstance(values.dtype, pl.Categorical | pl.Enum) else values


def within_int64(values: pl.Series, where: Where, rule: str) -> pl.Series:
    """Return integers as Int64, or raise a `DataError` for one that is too large."""
    found = values.cast(pl.Int64, strict=False)
    lost = found.is_null() & values.is_not_null()
    where.refuse(lost, values, f"{rule} of at most 63 bits", "Write larger codes as strings")
    return found


def whole_numbers(values: pl.Series, where: Where, rule: str, fix: str) -> pl.Series:
    """Return whole floats or decimals as Int64; NaN counts as missing if missing values are allowed."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
        large = values.abs() > _EXACT
        where.refuse(large, values, f"{rule}; floats this large are not exact", fix)
    codes = values.cast(pl.Int64, strict=False)
    wrong = (codes.is_null() & values.is_not_null()) | (codes.cast(values.dtype, strict=False) != values)
    where.refuse(wrong, values, rule, fix)
    return codes
