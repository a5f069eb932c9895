"""The squared error: the model predicts the mean of the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from twotower.config.bases import PredictingConfig
from twotower.objectives.pointwise import PointwiseObjective


def _tile_loss(score: Any, label: Any, parameter: Any, loss: Any, slope: Any) -> None:
    for j in range(score.size):
        r = score[j] - label[j]
        loss[j] = r * r
        slope[j] = np.float32(2) * r


class SquaredConfig(PredictingConfig):
    """``squared``: predicts the label by its mean; squared error."""

    name: Literal["squared"] = "squared"
    quadratic: ClassVar[Literal["", "pairs", "cells"]] = "pairs"

    def auto_regularisation(self, *, solved: bool) -> float:
        """Return the regularisation that "auto" stands for."""
        return 0.13 if solved else super().auto_regularisation(solved=solved)


@dataclass(frozen=True)
class Squared(PointwiseObjective):
    """``l(s, y) = (s - y)^2``; the prediction is the score."""

    Config: ClassVar[type[SquaredConfig]] = SquaredConfig
    tile_loss = staticmethod(_tile_loss)

    def elementwise(self, score: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(s - y)^2`` (n,) and ``2 (s - y)`` (n,)."""
        r = score - label
        return r * r, 2 * r
