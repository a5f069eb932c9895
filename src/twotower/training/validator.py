"""`Validator`: evaluates a model after each epoch, to find the best epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from twotower.towers import TwoTowerModel


class Validator(ABC):
    """Evaluates a model on the validation set.

    Attributes:
        by: the metric that decides which epoch is best.
        higher_is_better: whether higher values of it are better.
    """

    by: ClassVar[str]
    higher_is_better: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Return metrics, with names that start with ``validation_``, including ``by``."""
