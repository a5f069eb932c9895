"""Gaussian posteriors of one side's vectors given the other's: mean-field variational Bayes.

For labels ``y ~ N(u . v + b_u + b_i, noise / weight)`` and a prior on each row's vector and bias, ``z_u = (u,
b_u) ~ N(f_u, noise (strength_u shape)^-1)``, a row's posterior given the other side is a Gaussian in closed
form (Lim and Teh, "Variational Bayesian Approach to Movie Rating Prediction", 2007), with mean m and
covariance ``noise P^-1``:

    P_u = strength_u shape + sum_i r_ui (a_i a_i' + C_i)
    m_u = P_u^-1 (strength_u shape f_u + sum_i r_ui (a_i (y - b_i) - cov(a_i, b_i)))

with ``a = (v, 1)`` and r the pairs' weights. The covariance C of the other side acts as a penalty.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from numba import njit

from twotower.core.scratch import Scratch
from twotower.errors import TrainingError
from twotower.kernels.pair_loop import FASTMATH, part_bounds, run_parts
from twotower.kernels.pairs import Pairs
from twotower.training.closed_form.grouped_pairs import F32, F64
from twotower.training.stored_pairs import StoredPairs

_LEAST = 1e-5
"""Minimum penalty as a share of a row's mean precision, to keep float32 sums positive definite."""
_BLOCK = 2**22  # numbers per block of precision matrices


class Gaussians(NamedTuple):
    """Rows of one side: means float32 (n, d), bias last, and their `moments` float32 (n, K + 2 d)."""

    mean: F32
    moments: F32


class Solved(NamedTuple):
    """Gaussians, and the sum over rows of strength times covariance, float64 (d, d)."""

    rows: Gaussians
    spread: F64


def solve(
    rows: Pairs,
    others: Gaussians,
    prior: F32,
    strength: F64,
    noise: float,
    *,
    shape: F64 | None = None,
    mean: F32 | None = None,
) -> Solved:
    """Return the Gaussians of one side given the other. Bitwise reproducible for any number of threads.

    Takes about ``d ** 2`` multiplications per pair and ``d ** 2`` numbers of memory per row; these are on
    disk if the pairs are.

    Args:
        rows: the pairs grouped by the rows of this side.
        others: Gaussians of the other side.
        prior: (n, d), the means f of the prior.
        strength: (n,), factors of the prior's precision.
        noise: variance of a label with weight 1.
        shape: (d, d), the prior's precision at strength 1 and noise 1; None for the identity.
        mean: (n, d), the current means; if given, only the covariances are computed.

    Raises:
        TrainingError: a precision matrix is not positive definite.
    """
    n, d = prior.shape
    packed = d * (d + 1) // 2
    place = _places(d)
    form = torch.eye(d, dtype=torch.float64) if shape is None else torch.from_numpy(shape)
    means, spread = np.empty((n, d), np.float32), torch.zeros(d, d, dtype=torch.float64)
    block = max(_BLOCK // d**2, 1)
    with _Moments(rows, n, packed + 2 * d) as found:
        for first in range(0, n, block):
            last = min(first + block, n)
            sums = torch.from_numpy(_gather(rows, others.moments, first, last, d)).double()
            precision = sums[:, place]  # (block, d, d)
            diagonal = precision.diagonal(dim1=1, dim2=2)
            each = torch.from_numpy(strength[first:last])
            each = torch.maximum(each, _LEAST * diagonal.mean(dim=1))
            drawn = each[:, None, None] * form
            precision += drawn
            root, failed = torch.linalg.cholesky_ex(precision)
            if failed.any():
                raise TrainingError(
                    "could not compute vectors: a least-squares problem is singular in 64-bit precision; "
                    "raise objective.regularisation, or look for extreme labels or weights"
                )
            if mean is None:
                towards = drawn @ torch.from_numpy(prior[first:last]).double()[:, :, None]
                right = sums[:, packed:, None] + towards
                means[first:last] = torch.cholesky_solve(right, root)[:, :, 0].float().numpy()
            else:
                means[first:last] = mean[first:last]
            covariance = noise * torch.cholesky_inverse(root)
            spread += (each @ covariance.flatten(1)).view(d, d)
            found.append(moments(means[first:last], covariance.numpy()))
        return Solved(Gaussians(means, found.whole()), spread.numpy())


class _Moments:
    """Collects the moments of n rows (n, width), in memory or beside pairs that are on disk."""

    def __init__(self, rows: Pairs, n: int, width: int) -> None:
        self.shape, self.done = (n, width), 0
        self.scratch = Scratch(rows.space) if isinstance(rows, StoredPairs) else None
        if self.scratch is None:
            self.values = np.empty(self.shape, np.float32)
        else:
            self.column = self.scratch.column("moments", np.float32)

    def append(self, part: F32) -> None:
        """Add the next rows."""
        if self.scratch is None:
            self.values[self.done : self.done + len(part)] = part
            self.done += len(part)
        else:
            self.column.append(part.reshape(-1))

    def whole(self) -> F32:
        """Return all."""
        if self.scratch is not None:
            self.values = self.scratch.take("moments").reshape(self.shape)
        return self.values

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.scratch is not None:
            self.scratch.__exit__(kind, error, trace)


def moments(mean: F32, covariance: F64 | None = None) -> F32:
    """Return the moments of rows that the other side needs, (n, d (d + 1) / 2 + 2 d).

    With ``a = (v, 1)`` and b the bias: the lower triangle of ``E[a a']``, then ``-E[a b]``, then ``E[a]``.
    """
    a = mean.astype(np.float64)
    bias = a[:, -1:].copy()
    a[:, -1] = 1.0
    row, column = np.tril_indices(mean.shape[1])
    second, crossed = a[:, row] * a[:, column], a * bias
    if covariance is not None:
        latent = row < mean.shape[1] - 1  # the bias is not part of a
        second[:, latent] += covariance[:, row[latent], column[latent]]
        crossed[:, :-1] += covariance[:, :-1, -1]
    return np.concatenate([second, -crossed, a], axis=1).astype(np.float32)


def _places(d: int) -> torch.Tensor:
    """Return the position of each entry of a symmetric matrix (d, d) in its lower triangle, row by row."""
    row, column = np.tril_indices(d)
    place = np.empty((d, d), np.int64)
    place[row, column] = place[column, row] = np.arange(len(row))
    return torch.from_numpy(place)


def _gather(rows: Pairs, found: F32, first: int, last: int, d: int) -> F32:
    """Return the sums of ``E[a a']`` and ``E[a (y - b)]`` over the pairs of rows ``first:last``."""
    out = np.zeros((last - first, found.shape[1] - d), np.float32)
    bounds = part_bounds(rows.indptr[first : last + 1] - rows.indptr[first], 0)

    def run(part: int) -> None:
        _add(
            rows.indptr,
            rows.item,
            rows.label,
            rows.weight,
            found,
            d,
            first,
            bounds[part],
            bounds[part + 1],
            out,
        )

    run_parts(run, len(bounds) - 1)
    return out


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _add(indptr, other, label, weight, moments, d, offset, first, last, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    width = out.shape[1]
    for n in range(first, last):
        p, end = indptr[offset + n], indptr[offset + n + 1]
        while p + 4 <= end:  # four pairs per read and write of the sums
            o0, o1, o2, o3 = (
                np.uint32(other[p]),
                np.uint32(other[p + 1]),
                np.uint32(other[p + 2]),
                np.uint32(other[p + 3]),
            )
            w0, w1, w2, w3 = weight[p], weight[p + 1], weight[p + 2], weight[p + 3]
            for k in range(width):
                out[n, k] += (
                    w0 * moments[o0, k] + w1 * moments[o1, k] + w2 * moments[o2, k] + w3 * moments[o3, k]
                )
            w0, w1, w2, w3 = w0 * label[p], w1 * label[p + 1], w2 * label[p + 2], w3 * label[p + 3]
            for k in range(width, width + d):
                out[n, k - d] += (
                    w0 * moments[o0, k] + w1 * moments[o1, k] + w2 * moments[o2, k] + w3 * moments[o3, k]
                )
            p += 4
        while p < end:
            o, w = np.uint32(other[p]), weight[p]
            for k in range(width):
                out[n, k] += w * moments[o, k]
            w *= label[p]
            for k in range(width, width + d):
                out[n, k - d] += w * moments[o, k]
            p += 1
