"""Numbers as people write them: decimal commas, grouped thousands, units, percent and currency signs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from twotower.config.schema import Reading
from twotower.core.where import Ambiguous, Unreadable

MISSING: Final = ("", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "\\n", "-", "--", "?", ".")
"""Words for an unknown number, in lower case."""

_GROUP = "'’ \u00a0\u202f\u2009_"
"""Characters that group thousands whatever the decimal mark is."""
_SHAPE = (
    r"^(?<sign>[-+−]?)\s*(?<before>\p{Sc}|[A-Z]{1,3}\p{Sc}|[A-Z]{3}\s|Rs\.?)?\s*(?<minus>[-+−]?)"
    rf"(?<body>\d(?:[\d.,{_GROUP}]*\d)?[.,]?|[.,]\d+)(?<power>[eE][-+]?\d+)?"
    r"\s*(?<after>(?:(?:/|out of)\s*\d+)?\s*(?:[^\d\s.,:;+@-][^\d@]*)?)$"
)
_POINT = rf"^(?:\d+|[1-9]\d{{0,2}}(?:[,{_GROUP}]\d{{2,3}})*[,{_GROUP}]\d{{3}})?(?:\.\d*)?$"
_COMMA = rf"^(?:\d+|[1-9]\d{{0,2}}(?:[.{_GROUP}]\d{{2,3}})*[.{_GROUP}]\d{{3}})?(?:,\d*)?$"
_TIMES: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "bn": 1e9}
"""Suffixes that multiply a number, if a column has several of them (1.2K, 3M, 950)."""


_Refuse = Callable[..., "Unreadable"]


@dataclass(frozen=True)
class Numbers:
    """Strings read as numbers.

    Attributes:
        values: (n,) Float64, null where missing.
        reading: how they were read; empty for plain numbers.
        missing: number of rows with a word for "unknown", such as ``NA``.
    """

    values: pl.Series
    reading: Reading
    missing: int


def read_numbers(values: pl.Series, reading: Reading = Reading()) -> Numbers:  # noqa: B008 (frozen)
    """Read n strings as numbers, all in the same way.

    Args:
        values: strings; null and the words of `MISSING` are missing.
        reading: the decimal mark and the unit, if known. Otherwise they are detected: there must be one
            decimal mark, and the same unit in every row.

    Raises:
        Unreadable: a value is not a number, or is written differently from the others; or a mark may be
            decimal or group thousands.
    """
    text = values.str.strip_chars()
    plain = text.cast(pl.Float64, strict=False) if reading.decimal != "," else pl.Series([None] * len(text))
    if not reading.given and plain.null_count() == text.null_count():
        nan = plain.is_nan()
        return Numbers(plain.fill_nan(None), Reading(), int(nan.sum()))
    known = text.is_not_null() & ~text.str.to_lowercase().is_in(MISSING)
    missing = int((text.is_not_null() & ~known & (text != "")).sum())
    if not reading.given and not (plain.is_null() & known).any():
        return Numbers(plain.set(~known, None), Reading(), missing)
    distinct = text.filter(known).unique(maintain_order=True)
    parts = pl.DataFrame({"text": distinct}).with_columns(
        pl.col("text").str.extract_groups(_SHAPE).alias("parts")
    )
    parts = parts.unnest("parts").with_columns(pl.col("before", "after").str.strip_chars().fill_null(""))

    def refuse(wrong: pl.Series, why: str, fix: str | None = None) -> Unreadable:
        row = int(text.is_in(distinct.filter(wrong).implode()).fill_null(False).arg_max() or 0)
        return Unreadable(why, row) if fix is None else Ambiguous(why, row, fix)

    unknown = parts["body"].is_null()
    if unknown.any():
        raise refuse(unknown, "")
    unit, factor = _unit(parts, reading, refuse)
    mark = _mark(parts["body"], reading, refuse)
    other = "." if mark == "," else ","
    digits = parts["body"].str.replace_all(rf"[{_GROUP}{other}]", "").str.replace(mark, ".", literal=True)
    found = (digits + parts["power"].fill_null("")).cast(pl.Float64) * factor
    negative = (parts["sign"] + parts["minus"]).str.contains("[-−]")
    found = found.zip_with(~negative, -found)
    table = pl.DataFrame({"text": distinct, "number": found})
    read = pl.DataFrame({"text": text}).join(table, on="text", how="left", maintain_order="left")["number"]
    grouped = parts["body"].str.contains(rf"[{_GROUP}{other}]").any()
    told: dict[str, str] = {}
    if mark == "," or grouped:
        told["decimal"] = mark
    if unit:
        told["unit"] = unit
    return Numbers(read.alias(values.name), Reading(**told), missing)


def looks_like_numbers(values: pl.Series) -> Reading | None:
    """Return how a column of strings is read as numbers; None if it has none, or is ambiguous.

    >>> looks_like_numbers(pl.Series(["11,40", "8,5", "1.200,00"]))
    Reading(decimal=',', unit=None, format=None)
    """
    try:
        found = read_numbers(values)
    except Unreadable:
        return None
    return found.reading if found.values.count() else None


def said(reading: Reading, example: str, number: float) -> str:
    """Return a note on how numbers were read."""
    mark = {",": "with a decimal comma", ".": "with grouped thousands"}.get(reading.decimal or "")
    ways = [mark] if mark else []
    if reading.unit:
        ways.append(f"in '{reading.unit}'")
    return f"numbers {' and '.join(ways)}: '{example}' is read as {number:g}"


def _unit(parts: pl.DataFrame, reading: Reading, refuse: _Refuse) -> tuple[str, pl.Series | float]:
    """Return the unit of all rows, and the factor of each number."""
    if (
        set(parts["after"]) <= set(_TIMES)
        and parts["after"].n_unique() > 1
        and parts["before"].n_unique() <= 1
    ):
        return parts["before"][0], parts["after"].replace_strict(_TIMES, return_dtype=pl.Float64)
    units = parts["before"] + parts["after"]
    one = units.str.to_lowercase().str.replace(r"(\p{L}\p{L})s$", "$1").str.strip_chars_end(".")
    if reading.unit is not None:
        wanted = re.sub(r"(\w\w)s$", r"\1", reading.unit.lower()).rstrip(".")
        wrong = (one != wanted) & (one != "")
        if wrong.any():
            raise refuse(wrong, f"the unit of this column is '{reading.unit}'")
        return reading.unit, 1.0
    if one.n_unique() <= 1:
        return units[0] if len(units) else "", 1.0
    most = one.value_counts(sort=True)["text" if "text" in one.name else one.name][0]
    shown = f"'{units.filter(one == most)[0]}'" if most else "no unit"
    raise refuse(one != most, f"all numbers of a column must have one unit; most have {shown}")


def _mark(bodies: pl.Series, reading: Reading, refuse: _Refuse) -> str:
    """Return the decimal mark of all rows."""
    valid = {".": bodies.str.contains(_POINT), ",": bodies.str.contains(_COMMA)}
    if reading.decimal is not None:
        if not valid[reading.decimal].all():
            raise refuse(~valid[reading.decimal], f"the decimal mark of this column is '{reading.decimal}'")
        return reading.decimal
    fitting = [mark for mark, fits in valid.items() if fits.all()]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        most = max(valid, key=lambda mark: int(valid[mark].sum()))
        name = "point" if most == "." else "comma"
        raise refuse(
            ~valid[most], f"all numbers of a column must be written alike; most have a decimal {name}"
        )
    marked = bodies.str.contains("[.,]")
    if not marked.any():
        return "."
    # 1,234 may have grouped thousands or a decimal comma. Grouped thousands always have their comma,
    # fractions may lack it.
    comma = "," in bodies.filter(marked)[0]
    short = bodies.filter(~marked).str.len_chars()
    if len(short) and (short <= 3).all():
        return "." if comma else ","
    raise refuse(
        marked,
        f"a {'comma' if comma else 'point'} before three digits may be the decimal mark or group thousands",
        'Set it in [schema]: { kind = "number", decimal = "," } for a decimal comma, "." for a point; for '
        "a role under [schema.interactions]",
    )
