"""`Judge`: measures a model after each epoch, so that the best epoch can be told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from twotower.model import TwoTowerModel


class Judge(ABC):
    """Measures a model on the validation part.

    Attributes:
        by: the metric that epochs are judged by.
        higher_is_better: whether the best epoch is the one with the highest value of it, or the lowest.
    """

    by: ClassVar[str]
    higher_is_better: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Return metrics, each under a name that begins with ``validation_``; ``by`` is among them."""
