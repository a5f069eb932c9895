"""Columns whose values are lists: tags (`parse_categories`) and vectors (`parse_vector`)."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from twotower.config.schema import Reading
from twotower.core.wording import count_of
from twotower.data.list_text import SEPARATORS, find_separator, missing, plain_cells, split_cell, styles
from twotower.data.parse import AS_FOUND, Found, Where, shown

__all__ = ["find_separator", "parse_categories", "parse_vector"]

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})(\.0*)?$")
"""A canonical integer, written back as it was read: no leading zero, at most 63 bits."""
_MANY: Final = 0.3
"""Share of values with a comma or another separator from which a note says that each is taken as one tag."""


def parse_categories(
    values: pl.Series, where: Where, reading: Reading = AS_FOUND, found: Found | None = None
) -> pl.Series:
    """Return List(Int64) or List(String): one list of tags per row; null means missing, [] means none.

    Lists are unchanged except that nulls in them are dropped. Strings are read in any usual notation: ``[27,
    9]``, ``[27 9]``, ``["a", "b"]``, ``['a' 'b']``, ``{'a', 'b'}``, ``('a', 'b')``, ``[a,b]``, or ``a|b``
    with any separator that `find_separator` detects in the column; otherwise as a list of one tag. An empty
    string is missing.

    Raises:
        DataError: a bracket is not closed, lists are nested, numpy has abbreviated a list, or a float has a
            fraction.
    """
    rule = "categories must be a list of integer codes or strings"
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        return _tags_of_strings(values, where, reading, found)
    if values.dtype == pl.Null:
        return values.cast(pl.List(pl.String))
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise where.wrong_type(rule, values, "Declare a column of single values as 'category'")
    inner = values.dtype.inner
    values = values.list.drop_nulls()
    if inner == pl.String or isinstance(inner, pl.Categorical | pl.Enum):
        return values.cast(pl.List(pl.String))
    if isinstance(inner, pl.DataType) and (inner.is_integer() or inner in (pl.Boolean, pl.Null)):
        return values.cast(pl.List(pl.Int64))
    if isinstance(inner, pl.DataType) and inner.is_float():
        wrong = values.list.eval(pl.element() != pl.element().cast(pl.Int64, strict=False)).list.any()
        unknown = values.list.eval(pl.element().cast(pl.Int64, strict=False).is_null()).list.any()
        wrong = wrong.fill_null(False) | unknown.fill_null(False)
        if wrong.any():
            raise where.first(wrong, values, rule, "Write whole codes, or declare the column as 'vector'")
        return values.cast(pl.List(pl.Int64))
    raise where.wrong_type(rule, values, "Give each row a flat list of integers or strings")


def parse_vector(
    values: pl.Series, where: Where, reading: Reading = AS_FOUND, found: Found | None = None
) -> pl.Series:
    """Return List(Float32), all lists of the length of the first one; null means missing.

    Strings are read like ``[0.1, 0.2]``, ``[0.1 0.2]``, ``0.1 0.2`` or ``0,1;0,2``.

    Raises:
        DataError: a list has another length or a missing or non-finite number, or a string is in another
            notation.
    """
    rule = "a vector must be a list of finite numbers"
    raw = values
    if values.dtype == pl.String:
        values = _vectors_of_strings(values, where, rule, reading, found)
    elif values.dtype == pl.Null:
        return values.cast(pl.List(pl.Float32))
    elif isinstance(values.dtype, pl.Array):
        if len(values.dtype.shape) > 1:
            raise where.wrong_type(rule, values, "Give each row one flat list")
        values = values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise where.wrong_type(rule, values, "Give each row a list, or a string like [0.1, 0.2]")
    inner = values.dtype.inner
    if not (isinstance(inner, pl.DataType) and (inner.is_numeric() or inner == pl.Null)):
        raise where.wrong_type(f"{rule}, not {inner}", values, "Give each row a flat list of numbers")
    values = values.cast(pl.List(pl.Float32))
    sizes = values.list.len()
    known = sizes.drop_nulls()
    if len(known) and (sizes != known[0]).any():
        wrong = (sizes != known[0]).fill_null(False)
        row = wrong.arg_max() or 0
        first = sizes.is_not_null().arg_max() or 0
        raise where.fault(
            f"all vectors of a column must have one length ({known[0]} in data row {first + 1}, "
            f"{sizes[row]} here)",
            "Correct the list, or leave it empty if the vector is unknown",
            row + 1,
            raw[row],
        )
    if len(known) and known[0] == 0:
        raise where.first(
            sizes == 0, raw, "a vector must have at least one number", "Leave the field empty, or drop it"
        )
    numbers = values.drop_nulls().explode()
    if not numbers.is_finite().fill_null(False).all():
        finite = values.list.eval(pl.element().is_finite().fill_null(False)).list.all()
        raise where.first(~finite, raw, rule, "Correct the list, or leave it empty if the vector is unknown")
    return values


def _tags_of_strings(values: pl.Series, where: Where, reading: Reading, found: Found | None) -> pl.Series:
    """Parse each distinct string once (tags repeat), then assign the lists to the rows."""
    lists: list[list[str] | None] = []
    distinct = values.unique(maintain_order=True)
    stripped = distinct.str.strip_chars()
    stripped = stripped.set(missing(stripped), None)
    separator = reading.separator or _separator(stripped, where, found)
    style = styles(stripped)
    for text, cell in zip(distinct, stripped, strict=True):
        try:
            lists.append(split_cell(cell, separator, style) if cell else None)
        except ValueError as error:
            row = (values == text).arg_max() or 0
            fix = "Write it like [27, 9], [a,b] or a|b"
            raise where.fault(f"categories must be a flat list; {error}", fix, row + 1, text) from None
    whole = all(_INTEGER.match(tag) for tags in lists if tags is not None for tag in tags)
    # A column without any tag has no type yet: String, which accepts whatever comes later.
    whole = whole and any(lists)
    parsed = pl.Series(
        values.name,
        [None if tags is None else [int(t.split(".")[0]) if whole else t for t in tags] for tags in lists],
        dtype=pl.List(pl.Int64 if whole else pl.String),
    )
    table = pl.DataFrame({"text": distinct, "tags": parsed})
    rows = pl.DataFrame({"text": values})
    found_rows = rows.join(table, on="text", how="left", nulls_equal=True, maintain_order="left")
    return found_rows.get_column("tags").alias(values.name)


def _separator(distinct: pl.Series, where: Where, found: Found | None) -> str:
    """Return the separator of a column of lists, and add a note if one was found or may have been missed."""
    separator = find_separator(distinct, declared=True)
    if separator is not None:
        if found is not None and separator != "|":
            found.add(where, f"lists with the separator {separator!r}", Reading(separator=separator))
        return separator
    cells = plain_cells(distinct)
    for other in SEPARATORS[1:]:
        having = [cell for cell in cells if other in cell.strip(other)]
        if found is not None and len(having) > _MANY * len(cells):
            found.add(
                where,
                f"{len(having):,} of {count_of(len(cells), 'distinct value')} contain {other!r} and are "
                f"read as one tag each, such as {shown(having[0])}; if they are lists, set {{ kind = "
                f'"categories", separator = "{other}" }}',
            )
            break
    return "|"


def _vectors_of_strings(
    values: pl.Series, where: Where, rule: str, reading: Reading, found: Found | None
) -> pl.Series:
    """Read ``[0.1, 0.2]``, ``[0.1 0.2]`` (as numpy prints it), ``0.1 0.2`` and ``0,1;0,2``."""
    text = values.str.strip_chars()
    text = text.set(text == "", None)
    fix = "Write it like [0.1, 0.2]"
    inner = text.str.replace(r"^(?:np\.)?array\((.*?)(?:,\s*dtype=\w+)?\)$", "$1").str.strip_chars()
    closed = inner.str.contains(r"(?s)^(\[.*\]|\(.*\)|\{.*\})$")
    if not closed.any():
        closed = ~inner.str.contains(r"[\[\](){}]")
    if not closed.all():
        raise where.first(~closed, values, f"{rule} in brackets", fix)
    inner = inner.str.strip_chars("[](){}").str.strip_chars()
    short = inner.str.contains("...", literal=True)
    if short.any():
        raise where.first(
            short,
            values,
            f"{rule}, and numpy has abbreviated this one",
            "Write complete lists, with json.dumps(list)",
        )
    separator = next((mark for mark in ";|" if inner.str.contains(mark, literal=True).any()), None)
    blanks = inner.str.replace_all(r"\s+", " ")
    points = inner.str.contains(".", literal=True).any()
    if separator is None and inner.str.contains(",", literal=True).any():
        spaced = blanks.str.contains(r"^[-+\d,]+( [-+\d,]+)*$").all() and blanks.str.contains(" ").any()
        decimal_commas = reading.decimal == "," or (not points and spaced)
        separator = " " if decimal_commas else ","
    separator = separator or " "
    comma = reading.decimal or ("," if separator != "," and not points else ".")
    if comma == "," and blanks.str.contains(",", literal=True).any() and separator != ",":
        blanks = blanks.str.replace_all(",", ".", literal=True)
        if found is not None and reading.decimal is None:
            found.add(where, "vectors with decimal commas", Reading(decimal=","))
    parts = blanks.str.split(separator)
    numbers = parts.list.eval(pl.element().str.strip_chars().cast(pl.Float32, strict=False))
    wrong = numbers.list.eval(pl.element().is_null()).list.any()
    if wrong.any():
        row = wrong.arg_max() or 0
        bad = [part.strip() for part, number in zip(parts[row], numbers[row], strict=True) if number is None]
        raise where.fault(f"{rule} ({shown(bad[0])} is not a number)", fix, row + 1, values[row])
    return numbers
