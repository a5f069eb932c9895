"""Validation of metric inputs: one dimension, equal lengths, at least one row, finite numbers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.errors import ConfigError, DataError, nearest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def float_column(name: str, values: ArrayLike, rows: int | None = None) -> FloatArray:
    """Return ``values`` as float64 (rows,), or raise.

    float32 is converted here, before any sum or difference: a float32 sum over millions of rows loses digits
    that reports show.
    """
    array = _column(name, values, rows)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must contain numbers; got dtype {array.dtype}. Convert the column first.")
    column: FloatArray = array.astype(np.float64, copy=False)
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        count = int(column.size - np.count_nonzero(finite))
        raise DataError(
            f"{name} must be finite; got {column[row]} in row {row} ({count} such rows of {column.size}). "
            "Drop these rows first, or fix their source."
        )
    return column


def int_column(name: str, values: ArrayLike, rows: int | None = None) -> IntArray:
    """Return integer ``values`` as int64 (rows,), or raise."""
    array = _column(name, values, rows)
    if array.dtype.kind not in "iu":
        raise DataError(
            f"{name} must contain integers; got dtype {array.dtype}. Pass row indices or integer ids; "
            "for text ids, the codes of numpy.unique(ids, return_inverse=True)."
        )
    return array.astype(np.int64, copy=False)


def mask_column(name: str, values: ArrayLike, rows: int) -> BoolArray:
    """Return a boolean mask (rows,) that selects at least one row, or raise."""
    array = _column(name, values, rows)
    if array.dtype.kind != "b":
        raise DataError(
            f"{name} must be a boolean mask; got dtype {array.dtype}. Pass the result of a comparison."
        )
    if not array.any():
        raise DataError(f"{name} must select at least one row; it selects 0 of {rows}. Leave out this slice.")
    return array.astype(np.bool_, copy=False)


def checked_values(
    metric: str, given: Any, shape: tuple[int, ...], rule: str, *, finite: bool = True
) -> FloatArray:
    """Return what a metric gave as float64 of a shape, or raise: ``rule`` says what it must be."""
    values: FloatArray = np.empty((0,) * (len(shape) + 1))  # of another shape
    with suppress(TypeError, ValueError):
        array = np.asarray(given)
        if given is not None and array.dtype.kind not in "US":  # numpy reads None and "1" as numbers
            values = array.astype(np.float64)
    if values.shape != shape or (finite and np.isinf(values).any()):
        got = "an infinite value"
        if values.shape != shape:
            try:
                size = np.shape(given)
            except ValueError:  # ragged lists
                size = ()
            got = f"shape {size}" if size not in ((), shape) else repr(given)[:80]
        raise DataError(f"metric {metric!r} must return {rule}; got {got}")
    return values


def finite_cap(cap: float | None) -> float | None:
    """Return ``cap`` as a float, or raise if it is not finite."""
    if cap is not None and not np.isfinite(cap):
        raise ConfigError(f"cap must be finite; got {cap}. Pass None to leave out the capped metrics.")
    return None if cap is None else float(cap)


def check_against(against: str, models: Iterable[str]) -> None:
    """Raise if the model to compare with is none of the models."""
    if against not in models:
        raise ConfigError(
            f"against must name one of the models ({', '.join(models)}); got {against!r}."
            f"{nearest(against, models)}"
        )


def _column(name: str, values: ArrayLike, rows: int | None) -> NDArray[Any]:
    array = np.asarray(values, order="C")  # a fixed layout, so that Numba compiles each kernel once
    if array.ndim != 1:
        raise DataError(f"{name} must have one dimension; got shape {array.shape}. Pass one value per row.")
    if array.size == 0:
        raise DataError(f"{name} must have at least one row; got 0. Check the split or the filter before it.")
    if rows is not None and array.size != rows:
        raise DataError(
            f"{name} must have one value per row; got {array.size} for {rows} rows. "
            "Take all columns from the same table, after the same filter."
        )
    return array
