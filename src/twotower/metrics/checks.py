"""Checks of the arrays every metric takes: one dimension, equal lengths, at least one row, finite numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def float_column(name: str, values: ArrayLike, rows: int | None = None) -> FloatArray:
    """Return ``values`` as float64 (rows,), or refuse them.

    float32 is widened here, before any sum or difference is taken: a float32 sum over millions of rows
    loses digits that the reports print.
    """
    array = _column(name, values, rows)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold numbers; got dtype {array.dtype}. Convert the column first.")
    column: FloatArray = array.astype(np.float64, copy=False)
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        count = int(column.size - np.count_nonzero(finite))
        raise DataError(
            f"{name} must be finite; got {column[row]} in row {row} ({count} such rows of {column.size}). "
            "Drop these rows before measuring, or mend what produced them."
        )
    return column


def int_column(name: str, values: ArrayLike, rows: int | None = None) -> IntArray:
    """Return integer ``values`` as int64 (rows,), or refuse them."""
    array = _column(name, values, rows)
    if array.dtype.kind not in "iu":
        raise DataError(
            f"{name} must hold integers; got dtype {array.dtype}. Pass row indices or integer ids, "
            "for text ids the codes of numpy.unique(ids, return_inverse=True)."
        )
    return array.astype(np.int64, copy=False)


def mask_column(name: str, values: ArrayLike, rows: int) -> BoolArray:
    """Return a boolean mask (rows,) that keeps at least one row, or refuse it."""
    array = _column(name, values, rows)
    if array.dtype.kind != "b":
        raise DataError(
            f"{name} must be a boolean mask; got dtype {array.dtype}. Pass a comparison's result."
        )
    if not array.any():
        raise DataError(f"{name} must keep at least one row; it keeps 0 of {rows}. Leave this slice out.")
    return array.astype(np.bool_, copy=False)


def finite_cap(cap: float | None) -> float | None:
    """Return ``cap`` as a float, or refuse one that is not finite."""
    if cap is not None and not np.isfinite(cap):
        raise ConfigError(f"cap must be finite; got {cap}. Pass None to leave the capped metrics out.")
    return None if cap is None else float(cap)


def _column(name: str, values: ArrayLike, rows: int | None) -> NDArray[Any]:
    array = np.asarray(values, order="C")  # one layout, so that Numba compiles each kernel once
    if array.ndim != 1:
        raise DataError(f"{name} must have one dimension; got shape {array.shape}. Pass one value a row.")
    if array.size == 0:
        raise DataError(f"{name} must have at least one row; got 0. Check the split or the filter before it.")
    if rows is not None and array.size != rows:
        raise DataError(
            f"{name} must have one value a row; got {array.size} for {rows} rows. "
            "Take all columns from the same table, after the same filter."
        )
    return array
