"""`finished`: vectors from a tower in the units of the label."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.kernels.layout import VectorLayout
from twotower.targets.target import Target


def finished(vectors: torch.Tensor, which: str, target: Target) -> NDArray[np.float32]:
    """Apply the label's mean and standard deviation to vectors from a tower: float32 (rows, dim) on the
    CPU."""
    done = vectors.detach().float().cpu().numpy().copy()
    if which == "users":
        done *= np.float32(target.sd)
        VectorLayout.shift(done, np.float32(target.mean))
    return done
