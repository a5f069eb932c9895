"""`Interval`: a metric with the bounds of its interval, used as a number wherever one is needed."""

from __future__ import annotations

import math
from typing import Any

_MOST_DECIMALS = 6


class Interval(float):
    """A metric's value with the bounds of its interval; a ``float`` that also knows ``low`` and ``high``.

    Calculations, comparisons, ``round`` and ``format`` use the value alone, as for any float. Only ``str``
    and ``repr`` show the bounds, with as many decimals as the width of the interval warrants. Two intervals
    are equal if values and bounds are; an interval equals a number if its value does.

    The difference of two intervals is a plain float: whether two models differ is what the interval of their
    *paired* difference says, see `twotower.metrics.paired_difference`.

    >>> ndcg = Interval(0.3542, 0.3461, 0.3617)
    >>> ndcg, f"{ndcg:.2f}", ndcg > 0.35
    (0.354 [0.346, 0.362], '0.35', True)

    Attributes:
        value: over all rows, never the mean of resamples; nan where the metric is not defined.
        low, high: bounds of the percentile interval; nan where fewer than two users stand behind the metric.
    """

    __slots__ = ("_high", "_low")
    _low: float
    _high: float

    def __new__(cls, value: float, low: float, high: float) -> Interval:
        """Make a float that keeps the bounds."""
        made = super().__new__(cls, value)
        made._low, made._high = float(low), float(high)
        return made

    @property
    def value(self) -> float:
        """The value as a plain float."""
        return float(self)

    @property
    def low(self) -> float:
        """The lower bound."""
        return self._low

    @property
    def high(self) -> float:
        """The upper bound."""
        return self._high

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Interval):
            return (self.value, self.low, self.high) == (other.value, other.low, other.high)
        return float(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(float(self))

    def __repr__(self) -> str:
        width = self.high - self.low
        if not math.isfinite(width):
            return f"{self.value:.4g}"
        decimals = 1 - math.floor(math.log10(width)) if width > 0.0 else _MOST_DECIMALS + 1
        form = ".4g" if decimals > _MOST_DECIMALS else f".{max(decimals, 0)}f"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"

    __str__ = __repr__

    def __getnewargs__(self) -> tuple[float, float, float]:  # type: ignore[override]
        return self.value, self.low, self.high

    def __reduce__(self) -> tuple[Any, ...]:
        return Interval, self.__getnewargs__()

    def as_dict(self) -> dict[str, float | None]:
        """``{"value", "low", "high"}`` for JSON, which has no nan: None in its place.

        >>> Interval(0.5, float("nan"), float("nan")).as_dict()
        {'value': 0.5, 'low': None, 'high': None}
        """
        fields = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if math.isfinite(number) else None for name, number in fields.items()}
