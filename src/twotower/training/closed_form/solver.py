"""`Solver`: fits linear towers in closed form, one round per epoch, without gradients."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.errors import TrainingError
from twotower.towers import LinearTower, TwoTowerModel
from twotower.training.callback import CallbackList
from twotower.training.closed_form.feature_ridge import Ridge
from twotower.training.closed_form.id_als import from_features
from twotower.training.trainer import Trainer, TrainingTask

F32 = NDArray[np.float32]


class Solver(Trainer):
    """Alternately solves for user and item vectors, and for their regression on features; see `Trainer`."""

    solves: ClassVar[bool] = True

    def __init__(self, task: TrainingTask, config: Any) -> None:
        super().__init__(task, config)
        self.sides = {"users": task.users, "items": task.items}

    @abstractmethod
    def solve(self, model: TwoTowerModel) -> float:
        """Run one round in place and return the training loss at its end."""

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Run a round; see `Trainer`."""
        try:
            loss = self.solve(self.task.model)
        except np.linalg.LinAlgError:  # what NumPy makes of numbers that are not finite
            loss = math.nan
        if not math.isfinite(loss):
            raise TrainingError(f"the loss must stay finite; got {loss} in epoch {number}{self.advice(0.0)}")
        callbacks.on_step_end(epoch=number, pairs_done=len(self.task.pairs), loss=loss)
        return loss

    def vectors(self, model: TwoTowerModel) -> dict[str, F32]:
        """Return the towers' outputs for their warm rows, (rows, width) each."""
        return {
            which: from_features(tower, self.sides[which]) + tower.ids.weight.detach().cpu().numpy()
            for which, tower in (("users", model.users), ("items", model.items))
        }

    def write(
        self,
        model: TwoTowerModel,
        now: dict[str, F32],
        newcomers: dict[str, Ridge],
        places: NDArray[np.int64],
    ) -> None:
        """Make the towers output given vectors: a regression on features, and the rest from the ids.

        Args:
            model: changed in place.
            now: the vectors, (rows, width) each.
            newcomers: regressions of vectors on features, for cold rows.
            places: positions of a tower's outputs that were solved for.
        """
        for which, tower in (("users", model.users), ("items", model.items)):
            assert isinstance(tower, LinearTower)
            newcomers[which].write(newcomers[which].fit(now[which][:, places]), tower, places)
            left = torch.from_numpy(now[which] - from_features(tower, self.sides[which]))
            tower.ids.weight.data.copy_(left.to(tower.ids.weight.device))
