"""Times as people write them: numbers since 1970 in any unit, dates as numbers, and dates as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import polars as pl

from twotower.core.where import Ambiguous, Unreadable
from twotower.data.number_text import MISSING

PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
WORDS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FROM: Final = {"ms": 1e11, "us": 1e14, "ns": 1e17}
"""Size from which numbers are in a unit: in the previous unit they would be past the year 5000."""
_LAST = 2.6e11
"""Seconds past the year 9999, the usual "never"."""
_NO_TIME: Final = (*MISSING, "nat", "0000-00-00", "0000-00-00 00:00:00")
_MEND = "Write it like 2020-07-05 00:08:23 or as seconds since 1970"

_ZONE = r"\s*(?:Z|z|(?:UTC|GMT)?(?:(?<sign>[+-])(?<oh>\d{1,2}):?(?<om>\d{2})?)?)?(?:\s*(?:UTC|GMT))?"
_ZONED = r"(?:\d\s*[Zz]|UTC|GMT|:\d\d[^+-]*[+-][\d:]+)\s*$"
_CLOCK = r"(?<h>[01]?\d|2[0-3])(?::(?<m>[0-5]\d)(?::(?<s>[0-5]\d(?:[.,]\d+)?))?)?"
_ISO = rf"^(?<day>\d{{4}}(?:-\d{{1,2}}-|/\d{{1,2}}/|\.\d{{1,2}}\.)\d{{1,2}})(?:[Tt\s]+{_CLOCK}{_ZONE})?$"
_BASIC = r"^(\d{4})(\d{2})(\d{2})[Tt](\d{2})(\d{2})(\d{2})"
_DAY_MONTH = (
    r"^(?<a>\d{1,2})[./-](?<b>\d{1,2})[./-](?<y>\d{4}|\d{2})"
    rf"(?:,?[Tt\s]+{_CLOCK}\s*(?<half>[AaPp])?(?:\.?[Mm]\.?)?{_ZONE})?$"
)
_AS_NUMBER: Final = (
    ("%Y%m%d", 19000101, 21001231),
    ("%Y%m%d%H%M", 190001010000, 210012312359),
    ("%Y%m%d%H%M%S", 19000101000000, 21001231235959),
)
_WORDED: Final = (
    *("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d-%b-%y"),
    *("%a, %d %b %Y", "%m %d, %Y", "%A, %B %d, %Y", "%Y %b %d", "%d/%b/%Y"),
)
_CLOCKS: Final = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S %z", ":%H:%M:%S %z")
_WHOLE: Final = ("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%b %d, %Y, %I:%M:%S %p")


@dataclass(frozen=True)
class Times:
    """A column read as times.

    Attributes:
        values: (n,) Float64 seconds since 1970-01-01 UTC, null where missing.
        format: how they were read: ``s``, ``ms``, ``us``, ``ns``, ``iso`` or a pattern of strptime.
        missing: number of rows with a word for "unknown".
    """

    values: pl.Series
    format: str
    missing: int = 0


def read_times(values: pl.Series, given: str | None = None, *, events: bool = False) -> Times:
    """Read n numbers or strings as times, all with the same unit or pattern.

    Args:
        values: numbers, or strings; null is missing.
        given: the unit or pattern, if known; otherwise it is detected. ISO is always read.
        events: whether they are times of interactions, which can't be in the first months of 1970.

    Raises:
        Unreadable: a value is not a time, or not in the unit or order of the others; the order of day and
            month is ambiguous.
    """
    if values.dtype != pl.String:
        return _numbers(values.cast(pl.Float64), given, events)
    text = values.str.strip_chars()
    missing = 0
    if text.cast(pl.Float64, strict=False).is_null().sum() > text.null_count():
        words = text.is_not_null() & text.str.to_lowercase().is_in(_NO_TIME)
        missing = int((words & (text != "")).sum())
        text = text.set(words, None)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count() and given in (None, "number", *PER_SECOND):
        found = _numbers(numbers, given, events)
        return Times(found.values, found.format, missing)
    if given not in (None, "iso", "number", *PER_SECOND):
        assert given is not None
        seconds = _by_pattern(text, given)
        return Times(
            _or_iso(seconds, text, f"the times of this column must be written like {given}"), given, missing
        )
    counted = _numbers(numbers, None, events)
    try:
        seconds = _or_iso(counted.values, text, "")
        return Times(seconds, counted.format if numbers.count() else "iso", missing)
    except Unreadable as failure:
        if _iso(text).count():
            raise
        other = _day_and_month(text) or _worded(text)
        if other is None:
            raise failure from None
        return Times(other.values, other.format, missing)


def looks_like_times(values: pl.Series) -> str | None:
    """Return the format (see `Times`) of a column that contains times, judged by its values; None if it does
    not.

    Numbers are times if all lie between 1980 and 2100. So may ids: check the name too if the format is ``s``,
    ``ms``, ``us`` or ``ns``.

    >>> looks_like_times(pl.Series([20210415, 20210501])), looks_like_times(pl.Series(["2019/10/01", ""]))
    ('%Y%m%d', 'iso')
    """
    if values.dtype.is_temporal():
        return "iso"
    if not (values.dtype == pl.String or values.dtype.is_numeric()):
        return None
    try:
        found = read_times(values)
    except Unreadable:
        return None
    low, high = found.values.min(), found.values.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return None
    if found.format in PER_SECOND and not (low > 3e8 and high < 4.2e9):
        return None
    return found.format


def zoneless(text: pl.Series) -> int:
    """Return how many ISO times lack a zone, if others have one; dates alone count as neither.

    >>> zoneless(pl.Series(["2024-05-11T14:11", "2024-05-11T14:12Z", "2024-05-11"]))
    1
    """
    length = text.str.len_bytes()
    if length.min() == length.max():
        return 0
    clock, zoned = text.str.contains(":", literal=True), text.str.contains(_ZONED)
    return int((clock & ~zoned).sum()) if zoned.any() else 0


def said(format: str, example: Any = None, seconds: float = 0.0) -> str:
    """Return a note on how times were read, with one of them and what it is in seconds since 1970, if given.

    >>> said("%d.%m.%Y", "08.12.2025 08:15", 1765181700.0)
    "written like %d.%m.%Y: '08.12.2025 08:15' is read as 2025-12-08 08:15:00 UTC"
    """
    how = f"{WORDS[format]} since 1970" if format in WORDS else f"written like {format}"
    if example is None:
        return how
    read = str(np.datetime64(math.floor(seconds), "s")).replace("T", " ")
    return f"{how}: '{' '.join(str(example).split())}' is read as {read} UTC"


def _numbers(values: pl.Series, given: str | None, events: bool) -> Times:
    """Read numbers, (n,) Float64."""
    values = values.fill_nan(None)
    infinite = values.is_infinite().fill_null(False)
    if infinite.any():
        raise Unreadable("a timestamp must be a finite number", int(infinite.arg_max() or 0))
    if given == "number":
        return Times(values, "s")
    sized = values.filter((values != 0) & (values != -1)).abs()
    found = _date_format(sized) or _unit(sized) if given in (None, "iso") else given
    assert found is not None
    if found not in PER_SECOND:
        text = values.cast(pl.Int64, strict=False).cast(pl.String)
        text = text.set((values == 0) | (values == -1), None)
        seconds = _by_pattern(text, found)
        wrong = seconds.is_null() & text.is_not_null()
        if wrong.any():
            raise Unreadable(
                f"the times of this column must be written like {found}", int(wrong.arg_max() or 0), _MEND
            )
        return Times(seconds, found)
    seconds = values / PER_SECOND[found] if found != "s" else values
    wrong = seconds.abs() > _LAST
    if events and found != "s":
        wrong = wrong | ((values.abs() >= 1e8) & (values.abs() < _FROM[found] / 10))
    if wrong.any():
        why = f"all times of a column must have one unit; most are {said(found)}"
        raise Unreadable(why, int(wrong.fill_null(False).arg_max() or 0), "Write all in the same unit")
    return Times(seconds, found)


def _unit(sized: pl.Series) -> str:
    """Return the unit of most numbers."""
    least, most = _unit_of(sized.min()), _unit_of(sized.max())
    return least if least == most else _unit_of(sized.median())


def _unit_of(size: Any) -> str:
    return next((unit for unit in ("ns", "us", "ms") if size is not None and size >= _FROM[unit]), "s")


def _date_format(sized: pl.Series) -> str | None:
    """Return the pattern of numbers that are dates, such as 20210415."""
    low, high = sized.min(), sized.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return None
    for pattern, least, most in _AS_NUMBER:
        if least <= low and high <= most:
            text = sized.unique().cast(pl.Int64).cast(pl.String)
            dates = len(text) - _by_pattern(text, pattern).null_count()
            return pattern if (sized == sized.floor()).all() and 2 * dates >= len(text) else None
    return None


def _by_pattern(text: pl.Series, pattern: str) -> pl.Series:
    """Read strings by a pattern, null where they don't match."""
    order = re.match(r"%([dm])[./-]%([dm])[./-]%[yY]", pattern)
    if order is not None and order[1] != order[2]:
        return _day_month_seconds(text, day_first=order[1] == "d")
    if "%z" not in pattern:
        text = text.str.replace(r"\s*\(?(?:GMT|UTC)\)?$", "")
    if "%H" not in pattern and "%I" not in pattern:
        days = text.str.to_date(pattern, strict=False)
        return days.to_physical().cast(pl.Float64) * 86400.0
    if "%M" not in pattern:
        text, pattern = text + ":00", pattern + ":%M"
    found = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return found.to_physical().cast(pl.Float64) / 1e6


def _or_iso(seconds: pl.Series, text: pl.Series, why: str) -> pl.Series:
    """Read the rest as ISO 8601: the most frequent form in one fast pass, then the others by their parts."""
    for form in (_plain_datetime, _iso):
        left = seconds.is_null() & text.is_not_null()
        if not left.any():
            return seconds
        index = left.arg_true()
        seconds = seconds.scatter(index, form(text.gather(index)))
    wrong = seconds.is_null() & text.is_not_null()
    if wrong.any():
        raise Unreadable(why, int(wrong.arg_max() or 0), _MEND)
    return seconds


def _plain_datetime(text: pl.Series) -> pl.Series:
    found = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    return found.to_physical().cast(pl.Float64) / 1e6


def _iso(text: pl.Series) -> pl.Series:
    text = text.str.replace(_BASIC, "${1}-${2}-${3}T${4}:${5}:${6}")
    found = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(_ISO)).unnest("text")
    return found.select(
        (_days(pl.col("day").str.replace_all("[/.]", "-"), "%Y-%m-%d") + _clock()).alias("seconds")
    ).to_series()


def _days(text: pl.Expr, pattern: str) -> pl.Expr:
    return text.str.to_date(pattern, strict=False).to_physical().cast(pl.Float64) * 86400.0


def _clock() -> pl.Expr:
    """Return the time of day in seconds, from the groups of `_CLOCK` and `_ZONE`."""
    hand: dict[str, Any] = {"h": 3600.0, "m": 60.0, "s": 1.0}

    def total(parts: dict[str, Any]) -> pl.Expr:
        return pl.sum_horizontal(
            pl.col(p).str.replace(",", ".", literal=True).cast(pl.Float64).fill_null(0.0) * w
            for p, w in parts.items()
        )

    ahead = total({"oh": 3600.0, "om": 60.0})
    return total(hand) - pl.when(pl.col("sign") == "-").then(-ahead).otherwise(ahead)


def _day_and_month(text: pl.Series) -> Times | None:
    """Read ``01.10.2019``, ``10/01/2019 5:30 PM``: in the order that fits all rows."""
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(_DAY_MONTH)).unnest("text")
    if parts["a"].null_count() != text.null_count() or not parts["a"].count():
        return None
    first, second = parts["a"].cast(pl.Int64), parts["b"].cast(pl.Int64)
    orders = [day_first for day_first, month in ((True, second), (False, first)) if not (month > 12).any()]
    if not orders:
        months_first = (first > 12).sum() < (second > 12).sum()
        wrong = (first if months_first else second) > 12
        order = "month first" if months_first else "day first"
        raise Unreadable(
            f"all dates of a column must be written alike; most have the {order}", int(wrong.arg_max() or 0)
        )
    mark = next(c for c in text.drop_nulls()[0] if not c.isdigit())
    year = "%Y" if parts["y"].str.len_chars().max() == 4 else "%y"
    if len(orders) == 2 and not (first == second).fill_null(True).all():
        row = int((first != second).fill_null(False).arg_max() or 0)
        day, month = f"%d{mark}%m{mark}{year}", f"%m{mark}%d{mark}{year}"
        raise Ambiguous(
            "the order of day and month is ambiguous: no number of the column is above 12",
            row,
            f'Set it in [schema]: {{ format = "{day}" }} or "{month}", with the kind of a feature, or for '
            "a role under [schema.interactions]",
        )
    pattern = f"%d{mark}%m{mark}{year}" if orders[0] else f"%m{mark}%d{mark}{year}"
    seconds = _day_month_seconds(text, day_first=orders[0])
    wrong = seconds.is_null() & text.is_not_null()
    if wrong.any():
        raise Unreadable(
            f"the times of this column must be written like {pattern}", int(wrong.arg_max() or 0), _MEND
        )
    return Times(seconds, pattern)


def _day_month_seconds(text: pl.Series, *, day_first: bool) -> pl.Series:
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(_DAY_MONTH)).unnest("text")
    day, month = ("a", "b") if day_first else ("b", "a")
    short = pl.col("y").str.len_chars() == 2
    century = pl.when(short & (pl.col("y").cast(pl.Int64) >= 69)).then(pl.lit("19")).otherwise(pl.lit("20"))
    year = pl.when(short).then(century + pl.col("y")).otherwise(pl.col("y"))
    days = _days(pl.concat_str([year, pl.col(month), pl.col(day)], separator="-"), "%Y-%m-%d")
    hour = pl.col("h").cast(pl.Int64)
    half = pl.col("half").str.to_lowercase()
    shift = (
        pl.when((half == "p") & (hour < 12)).then(43200.0).when((half == "a") & (hour == 12)).then(-43200.0)
    )
    return parts.select((days + _clock() + shift.otherwise(0.0)).alias("seconds")).to_series()


def _worded(text: pl.Series) -> Times | None:
    """Read dates with names in them by the first pattern that fits all rows."""
    some = text.drop_nulls().head(20)
    for pattern in _patterns():
        if _by_pattern(some, pattern).null_count():
            continue
        seconds = _by_pattern(text, pattern)
        if seconds.null_count() == text.null_count():
            return Times(seconds, pattern)
    return None


def _patterns() -> Iterator[str]:
    yield from _WHOLE
    for day, clock in product(_WORDED, _CLOCKS):
        yield day + clock
