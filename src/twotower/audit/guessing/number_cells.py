"""Columns of numbers, and those where a few cells are no numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from twotower.audit.statistics import Floats
from twotower.core.where import Where
from twotower.data.number_text import MISSING
from twotower.data.parse import parse_number
from twotower.errors import DataError

FIX: Final = "Correct the value or drop the row; to leave the label out, use --label none"
"""How to fix a label."""
_NUMBER = r"^\s*[-+]?\d+(?:[.,]\d+)*\s*$"
_MOST = 0.9
"""Minimum share of cells with a number in a column of numbers, where the others are faults."""


def numbers(column: pl.Series) -> Floats | None:
    """Return a column of the interactions as numbers (n,), nan where missing; None if it has no numbers."""
    if column.dtype.is_temporal() or column.dtype.is_nested():
        return None
    try:
        values = parse_number(column, Where("interactions", column.name))
    except DataError:
        return None
    found: Floats = values.fill_null(np.nan).to_numpy()
    return found if np.isfinite(found).any() else None


def not_all_numbers(
    column: pl.Series,
    where: Where,
    rule: str = "every row of a column of numbers needs a number",
    fix: str = FIX,
) -> DataError | None:
    """Return the error of a column of numbers where a few cells are none: its first such cell.

    None for any other column: one that is read as numbers, and one with fewer than 90% of them.
    """
    if column.dtype != pl.String or numbers(column) is not None:
        return None
    wrong = ~column.str.contains(_NUMBER) & ~column.str.strip_chars().str.to_lowercase().is_in(MISSING)
    if not wrong.any() or wrong.mean() > 1 - _MOST:  # type: ignore[operator]
        return None
    return where.first(wrong, column, rule, fix)
