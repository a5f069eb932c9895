"""Random draws with fixed marginals: counts are assigned exactly, curves are followed by rank.

Independent draws would miss the real marginals by sampling noise, which is large for rare levels; exact
assignment keeps them at every scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.figures import Curve

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def share_out(weights: Sequence[float] | Floats | Ints, total: int) -> Ints:
    """Split ``total`` into integers proportional to ``weights`` (largest remainder) that sum to it exactly.

    >>> share_out([1, 1, 2], 7).tolist()
    [2, 2, 3]
    """
    exact = np.asarray(weights, dtype=np.float64)
    exact = exact / exact.sum() * total
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    result: Ints = counts
    return result


def deal(rng: np.random.Generator, weights: Sequence[float] | Floats | Ints, n: int) -> Ints:
    """Return ``n`` level codes in random order, with frequencies proportional to the weights."""
    counts = share_out(weights, n)
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))


def deal_by_rank(score: Floats, weights: Sequence[float]) -> Ints:
    """Return a level code for each score: the lowest scores get level 0, and so on, with shares by weight."""
    codes = np.empty(len(score), dtype=np.int64)
    counts = share_out(weights, len(score))
    codes[np.argsort(score, kind="stable")] = np.repeat(np.arange(len(counts)), counts)
    return codes


def follow_curve(score: Floats, curve: Curve, *, weight: Floats | None = None, log: bool = False) -> Floats:
    """Return values with the ranks of ``score`` and the quantiles of ``curve``.

    With ``weight``, quantiles are those of the weighted sample. With ``log`` the curve is interpolated on the
    log of its values, which must then be positive.
    """
    order = np.argsort(score, kind="stable")
    mass = np.ones(len(score)) if weight is None else weight[order]
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    knots = np.asarray(curve[1], dtype=np.float64)
    values = np.empty(len(score))
    values[order] = (
        np.exp(np.interp(middle, curve[0], np.log(knots))) if log else np.interp(middle, curve[0], knots)
    )
    return values


def nest(rng: np.random.Generator, parent: Ints, bounds: Ints, skew: float) -> Ints:
    """Assign each row a child of its parent code; p has the children ``bounds[p] .. bounds[p + 1] - 1``.

    Within a parent the first children are the largest (``skew`` > 1), and all occur if there are enough rows.
    """
    order = np.lexsort((rng.random(len(parent)), parent))
    size = np.bincount(parent, minlength=len(bounds) - 1)
    start = np.cumsum(size) - size
    place = np.arange(len(parent)) - start[parent[order]]
    part = (place + 0.5) / size[parent[order]]
    width = np.diff(bounds)[parent]
    children = np.empty(len(parent), dtype=np.int64)
    children[order] = (part**skew * width[order]).astype(np.int64)
    result: Ints = bounds[parent] + children
    return result


def scatter(rng: np.random.Generator, room: Ints, total: int) -> Ints:
    """Return how many of ``total`` marks each row gets if row i has room for ``room[i]``."""
    return np.asarray(rng.multivariate_hypergeometric(room, total, method="marginals"), dtype=np.int64)


def standardise(values: Floats) -> Floats:
    """Return ``values`` with mean 0 and standard deviation 1 in each column; a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    result: Floats = centred / np.where(spread > 0, spread, 1.0)
    return result


def level_effects(rng: np.random.Generator, codes: Ints, dim: int) -> Floats:
    """Return a (rows, dim) random effect of each row's category code, of unit variance; codes start at -1."""
    effects = rng.standard_normal((int(codes.max()) + 2, dim))
    return standardise(effects[codes + 1])


def tag_effects(rng: np.random.Generator, tags: Sequence[Sequence[int]], dim: int) -> Floats:
    """Return a (rows, dim) random effect of each row's tags (the mean over its tags), of unit variance."""
    effects = rng.standard_normal((len(figures.TAG_COUNTS), dim))
    return standardise(np.stack([effects[list(row)].mean(axis=0) for row in tags]))
