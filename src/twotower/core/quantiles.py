"""Quantiles of a column that is read in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST: Final = 1 << 22
"""Distinct values up to which they are counted; with more, the whole column is sorted in memory."""


def quantiles(
    parts: Callable[[], Iterable[NDArray[Any]]], shares: NDArray[np.float64], most: int = MOST
) -> NDArray[np.float64]:
    """Return what ``np.quantile`` does of all values together, float64 (n_shares,).

    Memory follows the distinct values; with more than ``most`` of them it is that of the column, in its type.

    Args:
        parts: gives the parts of the column, which may be read twice; nan is left out.
        shares: of the values, 0 to 1.
        most: see above.

    >>> quantiles(lambda: [np.array([3.0, 1.0]), np.array([1.0, np.nan])], np.array([0.5, 0.75])).tolist()
    [1.0, 2.0]
    """
    values, counts = np.empty(0), np.empty(0, np.int64)
    for part in parts():
        own, n = np.unique(part[~np.isnan(part)], return_counts=True)
        values, place = np.unique(np.concatenate([values, own]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, n]), len(values)).astype(np.int64)
        if len(values) > most:
            break
    else:
        return _quantiles(values, np.cumsum(counts), shares)
    whole = np.concatenate([part[~np.isnan(part)] for part in parts()])
    whole.sort()
    return _quantiles(whole, None, shares)


def _quantiles(
    values: NDArray[Any], ends: NDArray[np.int64] | None, shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return quantiles of sorted values, of which the first ``ends[0]`` are the first, and so on; None for
    one each."""
    n = len(values) if ends is None else int(ends[-1]) if len(ends) else 0
    if not n:
        return np.full(len(shares), np.nan)
    at = shares * (n - 1)
    low = np.floor(at).astype(np.int64)
    high, share = np.minimum(low + 1, n - 1), at - low
    if ends is not None:
        low, high = (np.searchsorted(ends, place, side="right") for place in (low, high))
    below, above = values[low].astype(np.float64), values[high].astype(np.float64)
    step = above - below
    # from the nearer end, as NumPy does
    return np.where(share < 0.5, below + step * share, above - step * (1 - share))
