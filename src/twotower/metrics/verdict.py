"""What a difference between two models says."""

from __future__ import annotations

import math


def verdict_on(value: float | None, low: float | None, high: float | None, *, higher_is_better: bool) -> str:
    """Return what a difference, ours minus theirs, says of ours.

    >>> verdict_on(-0.1, -0.2, -0.05, higher_is_better=False)
    'better'

    Args:
        value, low, high: the difference with its interval; None or nan where it is not defined.
        higher_is_better: the metric's direction.

    Returns:

    ``"better"`` or ``"worse"`` if the interval excludes 0; ``"same"`` if it is 0 for everyone; else
    ``"unclear"``.
    """
    if value == low == high == 0.0:
        return "same"
    if low is None or high is None or math.isnan(low) or math.isnan(high) or low <= 0.0 <= high:
        return "unclear"
    return "better" if (low > 0.0) == higher_is_better else "worse"
