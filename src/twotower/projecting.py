"""Vectors as points of a plane, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FAR = 0.003
"""Share of the points on each side that may lie outside, and are drawn at the edge: a few far-off ones would
press all others into a spot."""


@dataclass(frozen=True)
class Plane:
    """The two principal components of n vectors.

    Attributes:
        points: float64 (n, 2), each within -1 and 1.
        explained: share of the variance that each of the two holds; nan where there is none.
    """

    points: NDArray[np.float64]
    explained: tuple[float, float]


def plane(vectors: NDArray[np.float32]) -> Plane:
    """Project vectors (n, dim) onto the plane in which they spread most."""
    values = vectors.astype(np.float64)
    centred = values - values.mean(axis=0)
    spread, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)  # else the sign, and the picture, is left to chance
    points = centred @ axes
    low, high = np.quantile(points, [_FAR, 1 - _FAR], axis=0)
    points = np.clip((2 * points - low - high) / np.maximum(high - low, 1e-12), -1, 1)
    if points.shape[1] < 2:
        points = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    total = float(spread.sum())
    shares = [float(of) / total if total > 0 else float("nan") for of in (*spread[::-1], 0.0)]
    return Plane(points, (shares[0], shares[1]))
