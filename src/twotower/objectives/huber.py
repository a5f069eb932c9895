"""The Huber loss: squared for small residuals, linear for large ones, to limit the effect of outliers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from twotower.config.bases import PredictingConfig
from twotower.config.sections import Positive
from twotower.errors import ConfigError
from twotower.objectives.pointwise import PointwiseObjective


def _tile_loss(score: Any, label: Any, parameter: Any, loss: Any, slope: Any) -> None:
    delta = parameter
    for j in range(score.size):
        r = score[j] - label[j]
        inner = r
        if r > delta:
            inner = delta
        if r < -delta:
            inner = -delta
        # With c = clip(r): c (2r - c) is r^2 inside and 2 delta |r| - delta^2 outside, without a branch.
        loss[j] = inner * (np.float32(2) * r - inner)
        slope[j] = np.float32(2) * inner


class HuberConfig(PredictingConfig):
    """``huber``: predicts the label; outliers count less."""

    name: Literal["huber"] = "huber"
    delta: Positive = 1.0
    """Where the loss turns from squared to linear, in standard deviations of the (transformed) label."""

    searched: ClassVar[Mapping[str, Any]] = {
        **PredictingConfig.searched,
        "delta": {"low": 0.3, "high": 3.0, "log": True},
    }


@dataclass(frozen=True)
class Huber(PointwiseObjective):
    """``l(s, y) = r^2`` where ``|r| <= delta``, else ``2 delta |r| - delta^2``, with ``r = s - y``.

    This is twice Huber's definition, so that it equals the squared loss while no residual exceeds ``delta``.
    The prediction is the score. Source: Huber, "Robust Estimation of a Location Parameter", 1964.

    Attributes:
        delta: the residual, in the label's units, from which the loss is linear; more than 0.
    """

    delta: float = 1.0
    Config: ClassVar[type[HuberConfig]] = HuberConfig
    tile_loss = staticmethod(_tile_loss)

    def __post_init__(self) -> None:
        if not (0 < self.delta < math.inf):
            raise ConfigError(f"`delta` of the Huber loss must be a positive number; got {self.delta}.")

    @property
    def parameter(self) -> float:
        """``delta``."""
        return self.delta

    def elementwise(self, score: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``c (2r - c)`` (n,) and ``2c`` (n,) with ``c`` the residual ``r`` clipped to ``delta``."""
        r = score - label
        inner = r.clamp(-self.delta, self.delta)
        return inner * (2 * r - inner), 2 * inner
