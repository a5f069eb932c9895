"""Columns whose values are lists: tags (`parse_categories`) and vectors (`parse_vector`)."""

from __future__ import annotations

import ast
import re

import polars as pl

from twotower.data.parse import Where, shown

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})$")
"""An integer that is written back as it was read: no leading zero, within 63 bits."""


def parse_categories(values: pl.Series, where: Where) -> pl.Series:
    """Return List(Int64) or List(String): one list of tags a row; null means missing, [] means none.

    Lists are taken as they are, nulls inside them dropped. Strings are read as ``[27, 9]``, ``["a", "b"]``,
    ``[a,b]`` or ``a|b``; one without brackets or bars is a list of one. An empty string is missing.

    Raises:
        DataError: a bracket that is not closed, lists within lists, or a float with a fraction.
    """
    rule = "categories are a list of integer codes or strings"
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        return _tags_of_strings(values, where)
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


def parse_vector(values: pl.Series, where: Where) -> pl.Series:
    """Return List(Float32), every list as long as the first one; null means missing.

    Raises:
        DataError: a list of another length, a missing or non-finite number in one, or a string that isn't
            like ``[0.1, 0.2]``.
    """
    rule = "a vector is a list of finite numbers"
    raw = values
    if values.dtype == pl.String:
        values = _vectors_of_strings(values, where, rule)
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
            f"all vectors of a column have one length ({known[0]}, that of data row {first + 1}; "
            f"this one has {sizes[row]})",
            "Correct the list, or leave it empty if the vector is not known",
            row + 1,
            raw[row],
        )
    if len(known) and known[0] == 0:
        raise where.first(
            sizes == 0, raw, "a vector has at least one number", "Leave the field empty, or drop it"
        )
    numbers = values.drop_nulls().explode()
    if not numbers.is_finite().fill_null(False).all():
        finite = values.list.eval(pl.element().is_finite().fill_null(False)).list.all()
        raise where.first(
            ~finite, raw, rule, "Correct the list, or leave it empty if the vector is not known"
        )
    return values


def _tags_of_strings(values: pl.Series, where: Where) -> pl.Series:
    """Parse each distinct string once (tags repeat), then put the lists back in the rows' order."""
    lists: list[list[str] | None] = []
    distinct = values.unique(maintain_order=True)
    for text in distinct:
        try:
            lists.append(None if text is None or not text.strip() else _tags(text.strip()))
        except ValueError as error:
            row = (values == text).arg_max() or 0
            mend = "Write it like [27, 9], [a,b] or a|b"
            raise where.fault(f"categories are a flat list; {error}", mend, row + 1, text) from None
    whole = all(_INTEGER.match(tag) for tags in lists if tags is not None for tag in tags)
    # A column without any tag says nothing about their type: String, which takes whatever comes later.
    whole = whole and any(lists)
    parsed = pl.Series(
        values.name,
        [None if tags is None else [int(t) if whole else t for t in tags] for tags in lists],
        dtype=pl.List(pl.Int64 if whole else pl.String),
    )
    table = pl.DataFrame({"text": distinct, "tags": parsed})
    rows = pl.DataFrame({"text": values})
    found = rows.join(table, on="text", how="left", nulls_equal=True, maintain_order="left")
    return found.get_column("tags").alias(values.name)


def _tags(text: str) -> list[str]:
    if not text.startswith("["):
        parts = text.split("|")
    elif not text.endswith("]"):
        raise ValueError("the bracket is not closed")
    elif '"' in text or "'" in text:
        return _quoted_tags(text)
    else:
        parts = text[1:-1].split(",")
        if any("[" in part for part in parts):
            raise ValueError("this one holds lists")
    return [part.strip() for part in parts if part.strip()]


def _quoted_tags(text: str) -> list[str]:
    """Read ``["a, b", 'c']``; quotes that are only part of a tag (``[rock'n'roll]``) stay in it."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [part.strip().strip("\"'") for part in text[1:-1].split(",") if part.strip().strip("\"'")]
    if any(isinstance(part, list | tuple | dict | set) for part in found):
        raise ValueError("this one holds lists")
    return [str(part) for part in found if part is not None and part != ""]


def _vectors_of_strings(values: pl.Series, where: Where, rule: str) -> pl.Series:
    text = values.str.strip_chars()
    text = text.set(text == "", None)
    closed = text.str.starts_with("[") & text.str.ends_with("]")
    mend = "Write it like [0.1, 0.2]"
    if not closed.all():
        raise where.first(~closed, values, f"{rule} in brackets", mend)
    parts = text.str.strip_chars("[]").str.split(",")
    numbers = parts.list.eval(pl.element().str.strip_chars().cast(pl.Float32, strict=False))
    wrong = numbers.list.eval(pl.element().is_null()).list.any()
    if wrong.any():
        row = wrong.arg_max() or 0
        bad = [part.strip() for part, number in zip(parts[row], numbers[row], strict=True) if number is None]
        raise where.fault(f"{rule} ({shown(bad[0])} is no number)", mend, row + 1, values[row])
    return numbers
