"""The logistic loss: the score is the log-odds of a label of 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import model_validator

from twotower.config.bases import PredictingConfig
from twotower.kernels.pairs import Pairs
from twotower.objectives.pointwise import PointwiseObjective, check_labels_between

# exp(r) for |r| <= log(2) / 2 by Taylor series; relative error below 1e-8, a sixth of float32's precision.
_EXP = [np.float32(1 / math.factorial(k)) for k in range(8)]
_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7 = _EXP
_LOG2_E, _LN_2 = np.float32(math.log2(math.e)), np.float32(math.log(2))
_LOWEST = np.float32(-87)  # below this, exp is subnormal in float32, and negligible beside 1 long before


def _tile_loss(score: Any, label: Any, parameter: Any, loss: Any, slope: Any) -> None:
    """Two loops of plain arithmetic, which compile to SIMD; `math.exp` and `math.log1p` would take twice as
    long as the rest of the pair loop.
    """
    bits = slope.view(np.int32)  # a float32 2^n is its exponent n + 127 shifted to bit 23
    for j in range(score.size):
        x = -abs(score[j])
        x = _LOWEST if x < _LOWEST else x  # NaN passes
        n = np.float32(math.floor(x * _LOG2_E + np.float32(0.5)))
        r = x - n * _LN_2
        loss[j] = _E0 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * _E7))))))
        n = n if n > np.float32(-127) else np.float32(-127)  # NaN has no integer value; `loss` keeps it
        bits[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
    for j in range(score.size):
        s, y = score[j], label[j]
        e = loss[j] * slope[j]  # exp(-|s|), in (0, 1]
        # log(1 + e) = 2 artanh(t) with t = e / (2 + e) <= 1/3
        t = e / (np.float32(2) + e)
        q = t * t
        series = np.float32(1 / 11) + q * np.float32(1 / 13)
        series = np.float32(1 / 7) + q * (np.float32(1 / 9) + q * series)
        series = np.float32(1) + q * (np.float32(1 / 3) + q * (np.float32(1 / 5) + q * series))
        positive = s if s > 0 else np.float32(0)
        loss[j] = positive - s * y + np.float32(2) * t * series
        slope[j] = (np.float32(1) if s > 0 else e) / (np.float32(1) + e) - y


class LogisticConfig(PredictingConfig):
    """``logistic``: predicts a label from 0 to 1, such as yes or no."""

    name: Literal["logistic"] = "logistic"
    logits: ClassVar[bool] = True

    @model_validator(mode="after")
    def _labels_stay_in_bounds(self) -> Self:
        # The other transforms may leave labels in [0, 1] or bring them there, which is checked on the
        # training labels.
        if self.transform == "standardise":
            raise ValueError(
                "objective 'logistic' needs labels from 0 to 1, and transform 'standardise' centres them "
                "on 0; use transform 'none' or 'duration_rank', or objective 'squared'"
            )
        return self


@dataclass(frozen=True)
class Logistic(PointwiseObjective):
    """``l(s, y) = -y log p - (1 - y) log(1 - p)`` with ``p = 1 / (1 + exp(-s))``; labels in [0, 1].

    Computed as ``max(s, 0) - s y + log(1 + exp(-|s|))``, which cannot overflow. The prediction is ``p``.
    """

    Config: ClassVar[type[LogisticConfig]] = LogisticConfig
    tile_loss = staticmethod(_tile_loss)

    def elementwise(self, score: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cross-entropy (n,) and ``p - y`` (n,)."""
        loss = score.clamp(min=0) - score * label + torch.log1p(torch.exp(-score.abs()))
        return loss, torch.sigmoid(score) - label

    def check(self, pairs: Pairs) -> None:
        """Raise `DataError` unless every label lies in [0, 1]."""
        check_labels_between("logistic", pairs.label, 0, 1)
