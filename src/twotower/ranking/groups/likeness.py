"""likeness: how much an item is like the last ones of the query."""

from __future__ import annotations

import numpy as np

from twotower.ranking.columns import Feature
from twotower.ranking.groups.group import F32, FeatureGroup
from twotower.ranking.groups.towers import OF_SCORE, fill_scores
from twotower.ranking.kernels import likeness, neighbours, shared
from twotower.ranking.known import Batch, Known
from twotower.ranking.neighbours import Neighbours

LAST = 10
"""Items of the history that vectors are compared with."""
_DECAY = 0.9


class Likeness(FeatureGroup):
    """Cosines of vectors, sums of item-item weights, and shared categories."""

    @staticmethod
    def features(known: Known) -> list[Feature]:
        """Return features of vectors and of the item-item matrices, and two of each column of categories."""
        names = ["cosine_last", "cosine_best", "cosine_mean", *(f"together_{one}" for one in OF_SCORE)]
        if known.following is not None:
            names += [f"following_{one}" for one in OF_SCORE]
        names += [f"{column}_{what}" for column in known.values for what in ("share", "mean_grade")]
        return [Feature(name) for name in names]

    @staticmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write them."""
        known, history = batch.known, batch.history
        past = (history.indptr, history.item, history.grade)
        likeness(known.directions, *past, batch.owner, batch.item, LAST, out[:, :3])
        at = 3
        for matrix, decay in ((known.together, 1.0), (known.following, _DECAY)):
            if matrix is not None:
                fill_scores(batch, _sums(batch, matrix, decay), out[:, at : at + 4])
                at += 4
        for lists, size in known.values.values():
            shared(lists.indptr, lists.values, size, *past, batch.indptr, batch.item, out[:, at : at + 2])
            at += 2


def _sums(batch: Batch, matrix: Neighbours, decay: float) -> F32:
    history, made = batch.history, np.empty(len(batch.item), np.float32)
    neighbours(
        matrix.lists.indptr,
        matrix.lists.values,
        matrix.weight,
        history.indptr,
        history.item,
        history.grade,
        decay,
        batch.indptr,
        batch.item,
        np.zeros(batch.known.n_items, np.float32),
        made,
    )
    return made
