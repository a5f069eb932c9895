"""How vectors lie: how many directions they use, how long they are, how much of the scores is personal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.layout import VectorLayout

Vectors = NDArray[np.float32]

_SAMPLE_USERS, _SAMPLE_ITEMS = 1_000, 2_000
"""Most users and items whose scores are looked at."""
_STILL = 1e-3
"""A dimension that varies less than this share of the most varying one is constant."""


@dataclass(frozen=True)
class Geometry:
    """The vectors of one side, their biases left out.

    Attributes:
        rows: how many.
        dim: dimensions of a vector.
        effective_dim: directions that they use: the exponential of the entropy of the shares of variance of
            the principal components, from 1 to ``dim``; 0 if all vectors are alike (Roy & Vetterli 2007).
        first: share of the variance along the first principal component; nan if all are alike.
        still: dimensions that (nearly) don't vary.
        norms: least length, median, 99% quantile and greatest.
        zeros: vectors of length 0.
        finite: whether every number is finite.
    """

    rows: int
    dim: int
    effective_dim: float
    first: float
    still: int
    norms: tuple[float, float, float, float]
    zeros: int
    finite: bool


@dataclass(frozen=True)
class Personal:
    """The variance of the scores of users and items, in three parts.

    Attributes:
        user: share between users: the mean over all items.
        item: share between items: the mean over all users.
        both: the rest, personal taste, which makes lists differ.
        spread: standard deviation of the scores.
    """

    user: float
    item: float
    both: float
    spread: float


def geometry_of(vectors: Vectors, layout: VectorLayout) -> Geometry:
    """Look at finished vectors float32 (n, dim); n is at least 1."""
    parts = layout.directions(vectors)
    finite = bool(np.isfinite(parts).all())
    values = np.nan_to_num(parts.astype(np.float64), posinf=0.0, neginf=0.0)
    centred = values - values.mean(axis=0)
    variance = np.maximum(np.linalg.eigvalsh(centred.T @ centred / len(values)), 0.0)
    total, sd = float(variance.sum()), centred.std(axis=0)
    scale = float(np.square(values).mean()) * values.shape[1]
    effective, first = 0.0, float("nan")
    if total > 1e-10 * scale and total > 0:
        share = variance[variance > 0] / total
        effective, first = float(np.exp(-(share * np.log(share)).sum())), float(share.max())
    length = np.linalg.norm(values, axis=1)
    return Geometry(
        rows=len(values),
        dim=values.shape[1],
        effective_dim=effective,
        first=first,
        still=int((sd <= _STILL * sd.max()).sum()),
        norms=(
            float(length.min()),
            float(np.median(length)),
            float(np.quantile(length, 0.99)),
            float(length.max()),
        ),
        zeros=int((length == 0).sum()),
        finite=finite,
    )


def personal_of(users: Vectors, items: Vectors, seed: int) -> Personal:
    """Divide the variance of the scores of finished vectors (n, dim) and (m, dim); of many, of a sample."""
    draw = np.random.default_rng(seed)
    u = _sample(users, _SAMPLE_USERS, draw).astype(np.float64)
    v = _sample(items, _SAMPLE_ITEMS, draw).astype(np.float64)
    scores = u @ v.T  # (n, m)
    by_user, by_item = scores.mean(axis=1), scores.mean(axis=0)
    total = float(scores.var())
    if not total > 1e-12 * max(float(np.square(scores).mean()), 1e-300):
        return Personal(0.0, 0.0, 0.0, float(np.sqrt(max(total, 0.0))))
    user, item = float(by_user.var()) / total, float(by_item.var()) / total
    return Personal(user, item, max(1.0 - user - item, 0.0), float(np.sqrt(total)))


def _sample(vectors: Vectors, most: int, draw: np.random.Generator) -> Vectors:
    if len(vectors) <= most:
        return vectors
    return vectors[np.sort(draw.choice(len(vectors), most, replace=False))]
