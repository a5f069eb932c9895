"""Ids as text: which strings are canonical integers, and how ids are looked up."""

from __future__ import annotations

from typing import Final

import polars as pl

_CANONICAL: Final = r"^(?:0|-?[1-9][0-9]{0,18})$"
"""A canonical integer, written back as it was read: no plus sign, no leading zero, at most 19 digits."""


def canonical(ids: pl.Series) -> pl.Series:
    """Return which of n strings are integers of at most 63 bits, written as Python writes them; null stays
    null.

    >>> canonical(pl.Series(["7", "-7", "07", "+7", "7.0", "-0", "9223372036854775808"])).to_list()
    [True, True, False, False, False, False, False]
    """
    return ids.str.contains(_CANONICAL) & ids.cast(pl.Int64, strict=False).is_not_null()


def as_text(numbers: pl.Series) -> pl.Series:
    """Return n floats as text, a whole one as the integer it is, nan as null.

    >>> as_text(pl.Series([7.0, -0.0, 7.5, float("nan")])).to_list()
    ['7', '0', '7.5', None]
    """
    whole = numbers.cast(pl.Int64, strict=False)
    is_whole = (whole.cast(numbers.dtype) == numbers).fill_null(False)
    return whole.cast(pl.String).zip_with(is_whole, numbers.fill_nan(None).cast(pl.String))


def as_known(ids: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ids in the dtype of the known ids, null where they can't match any.

    Text matches an integer only if it is written canonically (``007`` is not 7); a whole float matches the
    integer; numbers become text as `as_text` and Python write them.

    Args:
        ids: n ids of any dtype.
        dtype: an integer dtype, or String.
    """
    if ids.dtype == dtype:
        return ids
    if ids.dtype.is_float():
        ids = as_text(ids)
    elif not ids.dtype.is_integer():
        ids = ids.cast(pl.String, strict=False)  # true is not 1, and a date is not a number of days
    if ids.dtype == pl.String and dtype.is_integer():
        ids = ids.set(~canonical(ids).fill_null(False), None)
    return ids.cast(dtype, strict=False)
