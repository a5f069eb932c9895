"""User vectors that a bundle leaves out: they follow from the users' histories when it is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.core.lists import cuts
from twotower.core.tensors import Arrays
from twotower.errors import ConfigError
from twotower.kernels.least_squares import solve_rows
from twotower.kernels.pairs import Pairs
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.parts import Catalogue, Interactions, Training
from twotower.recommender.read_histories import past_of
from twotower.recommender.state import RecommenderState
from twotower.targets.target import label_targets
from twotower.towers import History, finished
from twotower.towers.fold_in import FoldIn

F32 = NDArray[np.float32]
Made = TypeVar("Made", bound=RecommenderState)

TYPICAL, SHAPE = "users.typical", "users.shape"
"""What a bundle has instead: the vector of the typical user, and the shape of how users deviate from it."""
STEPS: Final = 16
"""Steps of conjugate gradients from the typical user's vector to a user's."""


def check_left_out(schema: Schema, *, read: bool) -> None:
    """Check that user vectors follow from histories alone.

    Args:
        schema: of the model.
        read: whether the user tower reads histories: it has users' features then too.

    Raises:
        ConfigError: they follow from features of users too, which a bundle does not have.
    """
    if schema.users and not read:
        raise ConfigError(
            "user vectors can be left out where they follow from histories alone; this model has features of "
            f"users ({', '.join(schema.users)}): set user_vectors = true, or leave [schema.users] out"
        )


def kept_of(folding: FoldIn) -> Arrays:
    """Return what a bundle has in place of the user vectors."""
    return {TYPICAL: folding.typical} | ({} if folding.shape is None else {SHAPE: folding.shape})


def vectors_of(
    kept: Arrays, towers: FittedTowers, catalogue: Catalogue, interactions: Interactions, training: Training
) -> F32:
    """Return the vectors of all users, float32 (n, dim), from what they did in the training set.

    Where the towers read histories they are those of training; elsewhere those of someone new with the same
    history (`FoldIn`), and the typical user's without one. Weights of interactions do not count.

    Args:
        kept: from `kept_of`.
        towers, catalogue, interactions, training: of the model; the vectors of the users are not read.
    """
    users, items = catalogue.users, catalogue.items
    if interactions.grades is not None:
        assert users.arrays is not None
        assert items.arrays is not None
        past = History.of(past_of(interactions), items.arrays)
        with torch.no_grad():
            read = towers.model.encode(replace(users.arrays, history=past), "users")
        return finished(read, "users", towers.target)
    layout = towers.model.layout
    folding = FoldIn(items.vectors, items.warm, kept[TYPICAL], layout, training.fold_in, kept.get(SHAPE))
    seen, labels, vectors = (
        interactions.items,
        interactions.labels,
        np.empty((len(users), layout.dim), np.float32),
    )
    for first, last in cuts(seen.indptr):
        lists, rows = seen.between(first, last), slice(int(seen.indptr[first]), int(seen.indptr[last]))
        duration = catalogue.item_duration
        given = None if labels is None else labels[rows].astype(np.float64)
        of = None if duration is None else duration[lists.values]
        values = np.full(len(lists.values), training.fold_in.positive)
        if given is not None:
            drawn = label_targets(towers.target, training.positive, training.objective, given, of, len(given))
            values = towers.target.as_scores(drawn)
        lists, values = lists.where(np.isfinite(values)), values[np.isfinite(values)]
        pairs = Pairs(lists.indptr, lists.values.astype(np.int32), values.astype(np.float32))
        vectors[first:last] = _folded(folding, pairs)
    return vectors


def as_loaded(model: Made) -> Made:
    """Return a model as it is once it was saved without the vectors of its users and loaded.

    Raises:
        ConfigError: they follow from features of users too.
    """
    check_left_out(model.encoder.schema, read=model.model.users.reads_history)
    kept = kept_of(model.folding)
    own = vectors_of(kept, model.towers, model.catalogue, model.interactions, model.training)
    users = replace(model.users, vectors=own, typical=(kept[TYPICAL], kept.get(SHAPE)))
    catalogue, training = replace(model.catalogue, users=users), replace(model.training, user_vectors=False)
    return replace(model, catalogue=catalogue, training=training)


def _folded(folding: FoldIn, pairs: Pairs) -> F32:
    """Return the vectors of users with the pairs of item and target that count, float32 (n, dim)."""
    settings, layout = folding.settings, folding.layout
    plain = not (settings.biased or settings.population or settings.rest or settings.mean)
    if not plain or layout.members > 1 or settings.sd != 1.0:
        rows = [slice(*pairs.indptr[row : row + 2]) for row in range(pairs.n_users)]
        each = [folding.vector(pairs.item[own], pairs.label[own].astype(np.float64)) for own in rows]
        return np.stack(each)
    counts, start = pairs.lists.lengths, folding.typical[layout.LATENT]
    other = np.delete(folding.items, layout.USER_BIAS, axis=1)  # latent numbers, then the bias
    towards = np.broadcast_to(start, (len(counts), len(start)))
    ridge = (settings.ridge * np.sqrt(counts)).astype(np.float32)
    cells = (settings.cell * counts.astype(np.float64) ** settings.cell_power).astype(np.float32)
    warm = folding.warm.astype(np.float32)
    solved = solve_rows(pairs, other, towards, towards, ridge, cells, warm, STEPS)
    vectors = layout.users(solved[:, None], np.zeros((len(counts), 1, 1), np.float32))
    vectors[counts == 0] = folding.typical
    return vectors
