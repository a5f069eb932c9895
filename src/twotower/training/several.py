"""`Several`: several kinds of towers, each by its own trainer."""

from __future__ import annotations

from typing import ClassVar

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.errors import TrainingError
from twotower.towers.auto import AutoConfig
from twotower.training.callback import CallbackList
from twotower.training.trainer import Trainer


class SeveralConfig(TrainingConfig):
    """``several``: trains each kind that towers of kind ``auto`` consider by the trainer that suits it."""


class Several(Trainer):
    """Stands for the trainers of the kinds that are considered; `twotower.estimator.auto` runs those."""

    Config: ClassVar[type[SeveralConfig]] = SeveralConfig

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers are chosen among several kinds, to rank."""
        return isinstance(model, AutoConfig) and objective.implicit

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Raise `TrainingError`: each kind has a trainer of its own."""
        del number, callbacks
        raise TrainingError("towers of kind 'auto' are trained by TwoTower.fit, each kind by its own trainer")
