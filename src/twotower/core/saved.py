"""Validated values from a saved state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def number(state: Mapping[str, Any], key: str, *, above: float = -math.inf) -> float:
    """Return a finite number, greater than ``above``.

    Raises:
        ValueError: it is missing or of another type.
    """
    value = state[key]
    if type(value) not in (int, float) or not math.isfinite(value) or not value > above:
        more = f" above {above:g}" if above > -math.inf else ""
        raise ValueError(f"{key!r} must be a finite number{more}; got {str(value)[:60]}")
    return float(value)


def optional(state: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number, or None."""
    return None if state[key] is None else number(state, key)


def flag(state: Mapping[str, Any], key: str) -> bool:
    """Return true or false."""
    if not isinstance(state[key], bool):
        raise ValueError(f"{key!r} must be true or false; got {str(state[key])[:60]}")
    return bool(state[key])


def numbers(state: Mapping[str, Any], key: str, *, dimensions: int = 1) -> NDArray[np.float64]:
    """Return a float64 array of finite numbers with ``ndim`` dimensions.

    Raises:
        ValueError: it is missing or of another type.
    """
    value = state[key]
    flat = value if dimensions == 1 else [row for row in value if isinstance(row, list)]
    if not isinstance(value, list) or len(flat) != len(value):
        raise ValueError(f"{key!r} must be a list of numbers")
    for row in [value] if dimensions == 1 else value:
        if not all(type(one) in (int, float) for one in row):
            raise ValueError(f"{key!r} must contain only numbers")
    array = np.array(value, dtype=np.float64).reshape((len(value), -1) if dimensions == 2 else (-1,))
    if not np.isfinite(array).all():
        raise ValueError(f"{key!r} must contain finite numbers")
    return array
