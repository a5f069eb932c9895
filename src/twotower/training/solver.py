"""`Solver`: fits linear towers in closed form, one round per epoch, without gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.towers import LinearTower, SideArrays, TwoTowerModel
from twotower.training.feature_ridge import FeatureRidge
from twotower.training.id_als import from_features

F32 = NDArray[np.float32]


class Solver(ABC):
    """Alternately solves for user and item vectors, and for their regression on features.

    Args:
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
    """

    def __init__(self, users: SideArrays, items: SideArrays) -> None:
        self.sides = {"users": users, "items": items}

    @abstractmethod
    def solve(self, model: TwoTowerModel) -> float:
        """Run one round in place and return the training loss at its end."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return the state beside the model, for a checkpoint: none by default."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the state that `state` returned."""
        assert not state

    def vectors(self, model: TwoTowerModel) -> dict[str, F32]:
        """Return the towers' outputs for their warm rows, (rows, width) each."""
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
