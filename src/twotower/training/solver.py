"""`Solver`: what solves for everything that linear towers have, an epoch at a time, without a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.model import LinearTower, SideArrays, TwoTowerModel
from twotower.training.alternating import from_features
from twotower.training.feature_ridge import FeatureRidge

F32 = NDArray[np.float32]


class Solver(ABC):
    """Solves for the vectors of both sides by turns, and for what features say of them.

    Args:
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
    """

    def __init__(self, users: SideArrays, items: SideArrays) -> None:
        self.sides = {"users": users, "items": items}

    @abstractmethod
    def solve(self, model: TwoTowerModel) -> float:
        """Take one round, in place, and return the train loss at its end."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return what the next round depends on beside the model, for a checkpoint: here nothing."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned."""
        assert not state

    def vectors(self, model: TwoTowerModel) -> dict[str, F32]:
        """Return what the towers say of their warm rows, (rows, width) each."""
        return {
            which: from_features(tower, self.sides[which]) + tower.ids.weight.cpu().numpy()
            for which, tower in (("users", model.users), ("items", model.items))
        }

    def write(
        self,
        model: TwoTowerModel,
        now: dict[str, F32],
        newcomers: dict[str, FeatureRidge],
        places: NDArray[np.int64],
    ) -> None:
        """Make the towers say vectors: what a regression on features finds of them, and the rest by ids.

        Args:
            model: changed in place.
            now: the vectors, (rows, width) each.
            newcomers: regressions of vectors on features, for a row never seen.
            places: of a tower's outputs, which have been solved for.
        """
        for which, tower in (("users", model.users), ("items", model.items)):
            assert isinstance(tower, LinearTower)
            newcomers[which].write(newcomers[which].fit(now[which][:, places]), tower, places)
            left = torch.from_numpy(now[which] - from_features(tower, self.sides[which]))
            tower.ids.weight.data.copy_(left.to(tower.ids.weight.device))
