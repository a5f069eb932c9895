"""`Metric`: the name, direction and unit of a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """Declaration of a metric; comparisons take the direction from here.

    Attributes
    ----------
    name
        The key of the metric in reports.
    higher_is_better
        The direction: False for an error, True for a score.
    unit
        ``"label"`` (in the label's own units) or ``"share"`` (no unit).

    """

    name: str
    higher_is_better: bool
    unit: Literal["label", "share"]

    def better(self, value: float, than: float) -> bool:
        """Whether ``value`` is strictly better; nan is never better.

        >>> Metric("mae", higher_is_better=False, unit="label").better(0.3, than=0.4)
        True
        """
        return value > than if self.higher_is_better else value < than
