"""Numbers and names as a report writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from twotower.metrics import Interval, metric_of

LEFT_OUT: Final = {
    "repeated": "that are in the test set twice",
    "not_candidates": "that are not among the candidates",
    "seen": "that the user has in the training set",
}
"""Why test positives are not ranked for, after their number."""


def metric_name(metric: str) -> str:
    """Return a metric's name as people write it.

    >>> metric_name("validation_ndcg@10")
    'Validation NDCG@10'
    """
    if metric.startswith("validation_"):
        return f"Validation {metric_name(metric.removeprefix('validation_'))}"
    found, (name, at, k) = metric_of(metric), metric.partition("@")
    if found is None:
        return name.replace("_", " ").capitalize() + at + k
    heading = found.heading or found.called[0].upper() + found.called[1:]
    return ("capped " if name != found.name else "") + heading + at + k


def number(value: Any) -> str:
    """Return a measured number with about four digits; a dash for one that is not defined.

    >>> number(0.53642), number(11711), number(1234.5), number(float("nan"))
    ('0.5364', '11,711', '1,234', '–')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = 4 if abs(value) < 10 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a number with its sign.

    >>> signed(0.25), signed(-0.25)
    ('+0.2500', '−0.2500')
    """
    text = number(value)
    return text if text.startswith(("−", "–")) else f"+{text}"


def bounds(of: Interval, *, sign: bool = False) -> str:
    """Return the bounds of an interval, empty if there are none.

    >>> bounds(Interval(0.5, 0.4, 0.6))
    '0.4000 to 0.6000'
    """
    if not (math.isfinite(of.low) and math.isfinite(of.high)):
        return ""
    write = signed if sign else number
    return f"{write(of.low)} to {write(of.high)}"


def interval(of: Interval, *, sign: bool = False) -> str:
    """Return a value with its bounds.

    >>> interval(Interval(0.5, 0.4, 0.6))
    '0.5000 (0.4000 to 0.6000)'
    """
    value, within = (signed if sign else number)(of.value), bounds(of, sign=sign)
    return f"{value} ({within})" if within else value


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage.

    >>> percent(0.1234, 1)
    '12.3%'
    """
    return "–" if not math.isfinite(share) else f"{share:.{digits}%}".replace("-", "−")


def shown(value: Any) -> str:
    """Return a cell of the user's data as one line of text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    plain = ", ".join(map(str, value)) if listed else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())
