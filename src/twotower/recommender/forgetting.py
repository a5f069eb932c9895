"""`without_users`: a model without some of its users: no id, no vector, no history."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twotower.core.lists import Lists
from twotower.errors import ConfigError
from twotower.recommender.state import RecommenderState

Model = TypeVar("Model", bound=RecommenderState)
T = TypeVar("T", bound=np.generic)

_OF_ITEMS = "inputs"
"""Name of an item tower within a user tower."""
ITEMS_OF: Final = "items_of"
"""Key of a bundle's manifest: the version that it was before users were deleted from it. It has the same
items, so what was published of that version does."""


def versions_of(manifest: Mapping[str, Any]) -> list[str]:
    """Return the versions whose items a bundle has: its own first, the first 12 digits of its hash."""
    earlier = manifest.get(ITEMS_OF)
    return [manifest["hash"][:12], *([earlier] if isinstance(earlier, str) else [])]


def without_users(model: Model, rows: NDArray[np.int64]) -> Model:
    """Return a model without some of its users. Answers for all others stay as they are.

    What the model learned of all users together, above all the items' vectors, stays until it is trained
    again. A second stage counts interactions when it is asked, and no longer counts theirs, so the lists of
    others can change a little.

    Args:
        model: a trained model.
        rows: of the users.

    Raises:
        ConfigError: nobody with interactions would be left.
    """
    kept = np.ones(len(model.users), bool)
    kept[rows] = False
    if not (kept & model.users.warm).any():
        raise ConfigError("a model needs at least one user with interactions; delete the run instead")
    if kept.all():
        return model
    gone = model.users.ids.filter(~kept)
    users, place = model.users, torch.from_numpy(np.flatnonzero(kept))
    encoder = model.encoder
    warm = encoder.users.warm_ids
    stay = ~warm.is_in(gone.implode())
    towers = copy.deepcopy(model.model)
    for name, module in towers.users.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("ids") and _OF_ITEMS not in name.split("."):
            weight = module.weight.detach()[torch.from_numpy(np.flatnonzero(stay.to_numpy()))]
            module.weight = nn.Parameter(weight.clone(), module.weight.requires_grad)
            module.num_embeddings = len(weight)
    left = encoder.users.on(warm.filter(stay))
    interactions = model.interactions
    lists, owner = interactions.items, interactions.items.owners()
    entries = kept[owner]

    def own_entries(values: NDArray[T] | None) -> NDArray[T] | None:
        return None if values is None else values[entries]

    of_users = lists.where(entries)
    arrays = users.arrays
    if arrays is not None:
        codes = torch.from_numpy((left.rows(users.ids.filter(kept)) + 1).astype(np.int32))
        arrays = replace(arrays.take(place), warm=codes.to(arrays.warm))
    return replace(
        model,
        towers=replace(model.towers, encoder=replace(encoder, users=left), model=towers),
        catalogue=replace(
            model.catalogue,
            users=replace(
                users,
                ids=users.ids.filter(kept),
                vectors=users.vectors[kept],
                warm=users.warm[kept],
                arrays=arrays,
            ),
        ),
        interactions=replace(
            interactions,
            items=Lists(np.append(of_users.indptr[:-1][kept], of_users.indptr[-1]), of_users.values),
            labels=own_entries(interactions.labels),
            grades=own_entries(interactions.grades),
            times=own_entries(interactions.times),
        ),
        ranker=None if model.ranker is None else model.ranker.without_users(kept),
    )
