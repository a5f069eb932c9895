"""Statistics for the checks: pure functions of arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse, special, stats

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def spearman(x: Floats, y: Floats) -> float:
    """Return the rank correlation of two (n,) arrays over rows where both are finite; nan if undefined."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 3:
        return float("nan")
    a, b = stats.rankdata(x[both]), stats.rankdata(y[both])
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def normal_scores(y: Floats) -> Floats:
    """Return the ranks of (n,) values as quantiles of a normal distribution: robust to any tail."""
    scores: Floats = special.ndtri((stats.rankdata(y) - 0.5) / len(y))
    return scores


def quantile_codes(x: Floats, bins: int = 16) -> Codes:
    """Bin (n,) numbers by quantiles; equal values share a bin, and missing ones have their own."""
    known = np.isfinite(x)
    codes = np.full(len(x), bins, dtype=np.int64)
    if known.any():
        edges = np.unique(np.quantile(x[known], np.linspace(0, 1, bins + 1)[1:-1]))
        codes[known] = np.searchsorted(edges, x[known], side="right")
    return codes


def value_codes(values: pl.Series) -> Codes:
    """Return a code from 0 for each distinct value, (n,); missing counts as a value."""
    ranked = values.rank("dense").cast(pl.Int64)
    return ranked.fill_null(0).to_numpy()


def common_codes(codes: Codes, least: int) -> Codes:
    """Return codes from 0, (n,); values with fewer than ``least`` rows share the code 0."""
    counts = np.bincount(codes)
    return np.where(counts[codes] >= least, codes + 1, 0).astype(np.int64)


def between_share(codes: Codes, y: Floats) -> float:
    """Return the share of the variance of y between groups, adjusted for their number (epsilon squared).

    ``1 - (SSW / (n - k)) / (SST / (n - 1))``: 0 on average if groups have no effect; nan if undefined.
    """
    n = len(y)
    within, total, k = _sums(codes, y)
    if n - k < 1 or total <= 0:
        return float("nan")
    return 1.0 - (within / (n - k)) / (total / (n - 1))


def group_deviates(codes: Codes, targets: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the significance of the differences of each target between groups, as normal deviates (F tests).

    0 or less without a difference; 5 is one in three million by chance.

    Args:
        codes: (n,) group of each row, from 0.
        targets: (m, n) approximately normal values, 0 where unknown; known ones have mean 0.
        known: (m, n) which of them are known.

    Returns:
        (m,) deviates, at most 38.
    """
    n, k = codes.size, int(codes.max()) + 1
    member = sparse.csr_matrix((np.ones(n), (codes, np.arange(n))), shape=(k, n))
    sums = member @ targets.T  # (k, m)
    sizes = member @ known.T.astype(np.float64)  # (k, m)
    between = (sums**2 / np.maximum(sizes, 1)).sum(axis=0)  # (m,)
    total = np.square(targets).sum(axis=1)  # (m,)
    free = (sizes > 0).sum(axis=0) - 1.0
    rest = known.sum(axis=1) - free - 1.0
    valid = (free >= 1) & (rest >= 2) & (total > 0)
    within = np.maximum(total - between, 1e-12 * np.maximum(total, 1e-300))
    f = np.where(valid, (between / np.maximum(free, 1)) / (within / np.maximum(rest, 1)), 0.0)
    log_p = stats.f.logsf(f, np.maximum(free, 1), np.maximum(rest, 1))
    deviates: Floats = np.where(valid, -special.ndtri_exp(np.maximum(log_p, -700.0)), 0.0)
    return np.minimum(deviates, 38.0)


def gini(counts: Floats) -> float:
    """Return the Gini coefficient of (n,) counts: 0 if all are equal, near 1 if one has everything."""
    ordered = np.sort(counts)
    n, total = len(ordered), ordered.sum()
    if n == 0 or total <= 0:
        return float("nan")
    return float(2 * (np.arange(1, n + 1) @ ordered) / (n * total) - (n + 1) / n)


def _sums(codes: Codes, y: Floats) -> tuple[float, float, int]:
    """Return the sum of squares within groups, the total sum of squares, and the number of groups."""
    centred = y - y.mean()
    sizes = np.bincount(codes)
    sums = np.bincount(codes, weights=centred)
    some = sizes > 0
    total = float(centred @ centred)
    return total - float((sums[some] ** 2 / sizes[some]).sum()), total, int(some.sum())
