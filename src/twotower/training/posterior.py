"""Posterior means of the id vectors, given the towers and the train pairs; taken once, after training.

A step of descent can only say where a user's vector is best, not how sure that is; so a rare item's vector is
believed as much as a common one's. Here the towers' feature vectors are taken as given, and the vectors with
their ids as random around them:

    y ~ N(u . v + b_u + b_i, noise / reliability_u)        z_u = (u, b_u) ~ N(f(x_u), noise / lambda_u)

and the same for items. Mean-field variational Bayes (Lim and Teh, "Variational Bayesian Approach to Movie
Rating Prediction", 2007) gives each row in turn a Gaussian in closed form, with mean m and covariance C,

    P_u = lambda_u + sum_i r_u (a_i a_i' + C_i)      m_u = P_u^-1 (lambda_u f(x_u) + sum_i r_u (...))

with ``a = (v, 1)``: the covariance of what it meets is its penalty. ``lambda`` is the training penalty of
`twotower.objectives.penalty`, but on the way from the features, biases included. Users differ in how noisy
their labels are, in watch ratios more than in stars; ``reliability`` is one over the variance of a user's
residuals, drawn towards everyone's. The means take the place of the id vectors, so nothing else changes:
a score stays one dot product. Each member of the model is done by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.model import SideArrays, Tower, TwoTowerModel
from twotower.model.two_tower import CHUNK
from twotower.objectives import score_pairs
from twotower.objectives.kernels import FASTMATH, part_bounds, run_parts
from twotower.objectives.penalty import penalty_shares
from twotower.training.batches import TrainPairs

ROUNDS = 3
"""Times that all items and then all users are solved; validation gains little from more."""
SHRINK = 10.0
"""Pairs at which a user's own residuals count as much as everyone's for the reliability."""
_LEAST = 1e-5
"""Of a row's mean precision: the least penalty, since sums in float32 are no closer than that to definite."""
_BLOCK = 2**22  # numbers in one block of precision matrices


class _Rows(NamedTuple):
    """The pairs grouped by one side: ``indptr`` (n + 1,), then of each pair the other row, label, weight."""

    indptr: NDArray[np.int64]
    other: NDArray[np.int32]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]


class _Gaussians(NamedTuple):
    """Rows of one side: means float32 (n, d), the bias last, and `_moments` of them float32 (n, K + 2 d)."""

    mean: NDArray[np.float32]
    moments: NDArray[np.float32]


@torch.no_grad()
def take_posterior_means(
    model: TwoTowerModel,
    users: SideArrays,
    items: SideArrays,
    pairs: TrainPairs,
    penalty: float,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Replace the id vectors of a model trained on squared error by their posterior means, in place.

    The same bits whatever the number of threads. Costs about ``dim ** 2 / members`` multiplications a pair
    and round, and as many numbers a row.

    Args:
        model: the towers; its vectors must not be normalised.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
        pairs: the train pairs.
        penalty: strength of the L2 on vectors; at 0 the posterior has no prior, and nothing is done.
        progress: told now and then what share of the work is done.
    """
    if penalty <= 0.0 or not len(pairs) or (pairs.weight is not None and not pairs.weight.any()):
        return
    was_training = model.training
    model.eval()
    features, vectors = [], []
    for tower, side in ((model.users, users), (model.items, items)):
        told = _encode(tower, replace(side, warm=torch.zeros_like(side.warm)))
        features.append(told)
        vectors.append(told + tower.ids.weight.cpu().numpy()[side.warm.cpu().numpy() - 1])
    weight, noise = _noise(model, users, items, pairs)
    label = pairs.target - np.float32(model.mean)
    by_user, by_item = _grouped(pairs, label, weight)
    strengths = [
        (penalty * penalty_shares(counts) * counts).astype(np.float64)
        for counts in (np.maximum(np.diff(rows.indptr), 1) for rows in (by_user, by_item))
    ]
    each = model.users.width // model.config.n_members
    for member, start in enumerate(range(0, model.users.width, each)):
        own = slice(start, start + each)
        user_prior, item_prior = (np.ascontiguousarray(f[:, own]) for f in features)
        user, item = (np.ascontiguousarray(v[:, own]) for v in vectors)
        # the first covariances of users, around the vectors that training found
        items_now = _Gaussians(item, _moments(item, None))
        users_now = _solve(by_user, items_now, user_prior, strengths[0], noise, mean=user)
        for done in range(ROUNDS):
            progress((member + done / ROUNDS) / model.config.n_members)
            items_now = _solve(by_item, users_now, item_prior, strengths[1], noise)
            users_now = _solve(by_user, items_now, user_prior, strengths[0], noise)
        for tower, side, now, prior in (
            (model.users, users, users_now, user_prior),
            (model.items, items, items_now, item_prior),
        ):
            own_part = torch.from_numpy(now.mean - prior).to(tower.ids.weight.device)
            tower.ids.weight[side.warm - 1, own] = own_part
    progress(1.0)
    model.train(was_training)


def _encode(tower: Tower, side: SideArrays) -> NDArray[np.float32]:
    every = torch.arange(side.rows, device=side.warm.device)
    parts = [tower(side.take(rows)) for rows in torch.split(every, CHUNK)]
    encoded: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return encoded


def _noise(
    model: TwoTowerModel, users: SideArrays, items: SideArrays, pairs: TrainPairs
) -> tuple[NDArray[np.float32], float]:
    """Return the weight of each pair, its user's reliability included, and the variance at weight 1."""
    U, V = model.encode(users, "users").cpu().numpy(), model.encode(items, "items").cpu().numpy()
    error = np.square(score_pairs(U, V, pairs.user, pairs.item) - pairs.target).astype(np.float64)
    given = (
        np.ones(len(pairs)) if pairs.weight is None else pairs.weight / pairs.weight.mean(dtype=np.float64)
    )
    everyone = float((given * error).mean())
    summed = np.bincount(pairs.user, given * error, pairs.n_users)
    counted = np.bincount(pairs.user, given, pairs.n_users)
    # no residual of a user is believed to be nothing
    variance = np.maximum((summed + SHRINK * everyone) / (counted + SHRINK), 1e-12)
    weight = given / variance[pairs.user]
    weight /= weight.mean()
    return weight.astype(np.float32), float((weight * error).mean())


def _grouped(
    pairs: TrainPairs, label: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[_Rows, _Rows]:
    """Group the pairs, sorted by user, by user and by item."""
    indptr = np.searchsorted(pairs.user, np.arange(pairs.n_users + 1))
    shape = (pairs.n_users, pairs.n_items)
    place = csr_array((np.arange(len(pairs)), pairs.item, indptr), shape=shape).tocsc()  # a counting sort
    order = place.data
    return (
        _Rows(indptr, pairs.item, label, weight),
        _Rows(place.indptr.astype(np.int64), pairs.user[order], label[order], weight[order]),
    )


def _solve(
    rows: _Rows,
    others: _Gaussians,
    prior: NDArray[np.float32],
    strength: NDArray[np.float64],
    noise: float,
    mean: NDArray[np.float32] | None = None,
) -> _Gaussians:
    """Return the Gaussians of one side given the other's; with ``mean`` only the covariances are new."""
    n, d = prior.shape
    packed = d * (d + 1) // 2
    place = _places(d)
    means = np.empty((n, d), np.float32)
    moments = np.empty((n, packed + 2 * d), np.float32)
    block = max(_BLOCK // d**2, 1)
    for first in range(0, n, block):
        last = min(first + block, n)
        sums = torch.from_numpy(_gather(rows, others.moments, first, last, d)).double()
        lam = torch.from_numpy(strength[first:last])[:, None]  # (block, 1)
        precision = sums[:, place]  # (block, d, d)
        diagonal = precision.diagonal(dim1=1, dim2=2)
        lam = torch.maximum(lam, _LEAST * diagonal.mean(dim=1, keepdim=True))
        diagonal.add_(lam)
        root = torch.linalg.cholesky(precision)
        if mean is None:
            right = sums[:, packed:] + lam * torch.from_numpy(prior[first:last])
            means[first:last] = torch.cholesky_solve(right[:, :, None], root)[:, :, 0].float().numpy()
        else:
            means[first:last] = mean[first:last]
        covariance = noise * torch.cholesky_inverse(root)
        moments[first:last] = _moments(means[first:last], covariance.numpy())
    return _Gaussians(means, moments)


def _places(d: int) -> torch.Tensor:
    """Return where each entry of a symmetric matrix (d, d) lies in its lower triangle, row by row."""
    row, column = np.tril_indices(d)
    place = np.empty((d, d), np.int64)
    place[row, column] = place[column, row] = np.arange(len(row))
    return torch.from_numpy(place)


def _moments(mean: NDArray[np.float32], covariance: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Return what the other side needs of rows, side by side, (n, d (d + 1) / 2 + 2 d).

    With ``a = (v, 1)`` and b the bias: the lower triangle of ``E[a a']``, then ``-E[a b]``, then ``E[a]``.
    """
    a = mean.astype(np.float64)
    bias = a[:, -1:].copy()
    a[:, -1] = 1.0
    row, column = np.tril_indices(mean.shape[1])
    second, crossed = a[:, row] * a[:, column], a * bias
    if covariance is not None:
        latent = row < mean.shape[1] - 1  # the bias is no part of a
        second[:, latent] += covariance[:, row[latent], column[latent]]
        crossed[:, :-1] += covariance[:, :-1, -1]
    return np.concatenate([second, -crossed, a], axis=1).astype(np.float32)


def _gather(rows: _Rows, moments: NDArray[np.float32], first: int, last: int, d: int) -> NDArray[np.float32]:
    """Return for rows ``first:last`` the sum of ``E[a a']`` and of ``E[a (y - b)]`` over their pairs."""
    out = np.zeros((last - first, moments.shape[1] - d), np.float32)
    bounds = part_bounds(rows.indptr[first : last + 1] - rows.indptr[first], 0)

    def run(part: int) -> None:
        _add(*rows, moments, d, first, bounds[part], bounds[part + 1], out)

    run_parts(run, len(bounds) - 1)
    return out


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _add(indptr, other, label, weight, moments, d, offset, first, last, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    width = out.shape[1]
    for n in range(first, last):
        for p in range(indptr[offset + n], indptr[offset + n + 1]):
            o, w = np.uint32(other[p]), weight[p]
            wy = w * label[p]
            for k in range(width):
                out[n, k] += w * moments[o, k]
            for k in range(d):
                out[n, width - d + k] += wy * moments[o, width + k]
