"""Posterior means of the id vectors, given the towers and the training pairs; computed once after training.

Gradient descent gives a point estimate of a vector without its uncertainty, so a rare item's vector is
trusted as much as a common one's. Here the towers' outputs from features are the fixed mean of a prior, and
each row's vector becomes the mean of its Gaussian posterior (`gaussians`), alternately for
users and items. The strength of the prior is the training penalty of `twotower.objectives.penalty`, applied
to the deviation from the features' prediction, including biases. The means replace the id vectors, so a score
is still one dot product. Ensemble members are computed separately. Linear towers are trained this way from
the start: `twotower.training.closed_form.variational`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs
from twotower.objectives.penalty import penalty_shares
from twotower.towers import SideArrays, Tower, TwoTowerModel
from twotower.towers.model import CHUNK
from twotower.training.closed_form.gaussians import Gaussians, moments, solve
from twotower.training.closed_form.grouped_pairs import GroupedPairs, Reliability

ROUNDS = 3
"""Number of rounds over all items and then all users; more rounds hardly improve validation."""


@torch.no_grad()
def take_posterior_means(
    model: TwoTowerModel,
    users: SideArrays,
    items: SideArrays,
    pairs: Pairs,
    penalty: float,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Replace the id vectors of a model trained on squared error with their posterior means, in place.

    Bitwise reproducible for any number of threads. Takes about ``dim ** 2 / members`` multiplications per
    pair and round, and as many numbers of memory per row.

    Args:
        model: the towers; its vectors must not be normalised.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
        pairs: the training pairs.
        penalty: strength of the L2 penalty on vectors; 0 means no prior, and then nothing is done.
        progress: called now and then with the share of the work that is done.
    """
    if penalty <= 0.0 or not len(pairs) or (pairs.weight is not None and not pairs.weight.any()):
        return
    was_training = model.training
    model.eval()
    features, vectors = [], []
    for tower, side in ((model.users, users), (model.items, items)):
        told = _encode(tower, replace(side, warm=torch.zeros_like(side.warm)))
        features.append(told)
        vectors.append(told + tower.ids.weight.detach().cpu().numpy()[side.warm.cpu().numpy() - 1])
    U, V = model.encode(users, "users").cpu().numpy(), model.encode(items, "items").cpu().numpy()
    grouped = GroupedPairs.of(pairs, items.rows, float(model.mean))
    reliability = Reliability.of(grouped.squares(pairs, U, V), grouped.by_user())
    noise, rows_of = reliability.noise, reliability.weighted(grouped)
    by_user, by_item = rows_of["users"], rows_of["items"]
    strengths = [
        (penalty * penalty_shares(counts) * counts).astype(np.float64)
        for counts in (np.maximum(np.diff(rows.indptr), 1) for rows in (by_user, by_item))
    ]
    layout = model.layout
    for member, own in enumerate(layout.outputs):
        user_prior, item_prior = (np.ascontiguousarray(f[:, own]) for f in features)
        user, item = (np.ascontiguousarray(v[:, own]) for v in vectors)
        # initial covariances of users, around the trained vectors
        items_now = Gaussians(item, moments(item))
        users_now = solve(by_user, items_now, user_prior, strengths[0], noise, mean=user).rows
        for done in range(ROUNDS):
            progress((member + done / ROUNDS) / layout.members)
            items_now = solve(by_item, users_now, item_prior, strengths[1], noise).rows
            users_now = solve(by_user, items_now, user_prior, strengths[0], noise).rows
        for tower, side, now, prior in (
            (model.users, users, users_now, user_prior),
            (model.items, items, items_now, item_prior),
        ):
            own_part = torch.from_numpy(now.mean - prior).to(tower.ids.weight.device)
            tower.ids.weight[(side.warm - 1)[:, None], torch.from_numpy(own).to(own_part.device)] = own_part
    progress(1.0)
    model.train(was_training)


def _encode(tower: Tower, side: SideArrays) -> NDArray[np.float32]:
    every = torch.arange(side.rows, device=side.warm.device)
    parts = [tower(side.take(rows)) for rows in torch.split(every, CHUNK)]
    encoded: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return encoded
