"""What a metric says of itself: its name, its direction and its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric's declaration; a comparison reads the direction from here and never guesses it.

    Attributes
    ----------
    name
        The key under which reports give the metric.
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
