"""Vectors as points of a plane, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_FAR = 0.003
"""Share of the points on each side that may lie beyond the edge: a few far-off ones would press all others
into a spot."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of the two principal components of some vectors.

    Attributes:
        centre: float64 (dim,), the mean of the vectors.
        axes: float64 (dim, 2).
        middle: float64 (2,), what is drawn at 0.
        reach: float64 (2,), how far from it the edge is.
        explained: share of the variance along each axis; nan where there is no variance.
    """

    centre: F64
    axes: F64
    middle: F64
    reach: F64
    explained: tuple[float, float]

    def place(self, vectors: NDArray[np.float32]) -> tuple[F64, NDArray[np.bool_]]:
        """Project vectors (n, dim).

        Returns:
            Points float64 (n, 2) within -1 and 1, and (n,) whether the point lies beyond the edge; it is then
            moved to the edge.
        """
        points = ((vectors.astype(np.float64) - self.centre) @ self.axes - self.middle) / self.reach
        beyond: NDArray[np.bool_] = np.any(np.abs(points) > 1 + 1e-9, axis=1)
        return np.clip(points, -1, 1), beyond


def plane(vectors: NDArray[np.float32]) -> Plane:
    """Return the plane in which vectors (n, dim) spread most; n and dim are at least 1."""
    values = vectors.astype(np.float64)
    centre = values.mean(axis=0)
    centred = values - centre
    spread, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)  # otherwise the signs, and the picture, are random
    if axes.shape[1] < 2:
        axes = np.concatenate([axes, np.zeros((len(axes), 1))], axis=1)
    low, high = np.quantile(centred @ axes, [_FAR, 1 - _FAR], axis=0)
    total = float(spread.sum())
    first, second = (float(of) / total if total > 0 else float("nan") for of in [*spread[::-1], 0.0][:2])
    return Plane(centre, axes, (low + high) / 2, np.maximum((high - low) / 2, 1e-12), (first, second))
