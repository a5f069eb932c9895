"""`joined`: several finished models as one, whose scores are the weighted sum of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.estimator.settings import Settings
from twotower.recommender import Recommender
from twotower.towers import TwoTowerModel
from twotower.towers.auto import AutoConfig, AutoItems, AutoPart, AutoUsers, joined_dim
from twotower.towers.folding import FoldingUsers

F32 = NDArray[np.float32]


def joined(done: Mapping[str, Recommender], weights: Mapping[str, float], settings: Settings) -> Recommender:
    """Return one model whose scores are the weighted sum of those of several.

    Args:
        done: kind of towers -> the finished model.
        weights: kind -> what its scores are multiplied by.
        settings: of the estimator, of kind "auto".
    """
    parts = tuple(
        AutoPart(
            model=one.model.config.model_dump(mode="json"),
            weight=weights[name],
            fold_in=None if one.model.users.reads_history else asdict(one.training.fold_in),
        )
        for name, one in done.items()
    )
    given = settings.model
    assert isinstance(given, AutoConfig)
    config = given.model_copy(update={"parts": parts, "dim": joined_dim(parts)})
    reading = [one for one in done.values() if one.model.users.reads_history]
    # one that reads the order has histories in it, with their times
    whole = max(reading, key=lambda one: one.model.users.ordered)
    encoder = whole.encoder
    shapes = whole.model.users.shape, whole.model.items.shape
    n_users, n_items = len(encoder.users.warm_ids), len(encoder.items.warm_ids)
    device = whole.model.mean.device
    model = TwoTowerModel(*shapes, n_users, n_items, config, settings.seed).to(device)
    assert isinstance(model.users, AutoUsers)
    assert isinstance(model.items, AutoItems)
    for user, item, one in zip(model.users.parts, model.items.parts, done.values(), strict=True):
        if isinstance(user, FoldingUsers):
            user.typical.copy_(torch.from_numpy(one.histories.typical))
        tower = user.tower if isinstance(user, FoldingUsers) else user
        tower.load_state_dict(one.model.users.state_dict())
        item.load_state_dict(one.model.items.state_dict())
    users, items = (
        replace(side, vectors=_side_by_side(which, done, weights, config.length))
        for which, side in (("users", whole.users), ("items", whole.items))
    )
    catalogue = replace(whole.catalogue, users=users, items=items)
    return replace(whole, towers=replace(whole.towers, model=model.eval()), catalogue=catalogue)


def _side_by_side(which: str, done: Mapping[str, Recommender], weights: Mapping[str, float], dim: int) -> F32:
    """Return the vectors of users or items as the joined towers have them, float32 (n, dim)."""
    latent, biases = [], []
    for name, one in done.items():
        layout, vectors = one.model.layout, getattr(one, which).vectors
        parts = layout.parts(vectors)
        # a user's vectors are divided by the number of members already
        factor = np.float32(weights[name] if which == "users" else 1.0)
        latent.append(layout.directions(vectors) * factor)
        place = layout.USER_BIAS if which == "users" else layout.ITEM_BIAS
        share = weights[name] if which == "users" else weights[name] / layout.members
        biases.append(parts[..., place].sum(axis=1) * np.float32(share))
    bias = np.sum(biases, axis=0)
    ones = np.ones_like(bias)
    ends = (bias, ones) if which == "users" else (ones, bias)
    made: F32 = np.concatenate([*latent, *(end[:, None] for end in ends)], axis=1).astype(np.float32)
    assert made.shape[1] == dim
    return made
