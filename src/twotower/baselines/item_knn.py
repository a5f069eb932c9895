"""Item-based nearest neighbours: items that the same users like, counted and normalised.

The similarity of items i and j is the cosine of their columns of users, shrunk so that a few users in common
say little:

    s_ij = n_ij / (sqrt(n_i n_j) + shrink)

where n_i users have i and n_ij have both. Each item keeps its most similar ones alone, and a user's score of
an item is the sum of its similarities to those of its neighbours that the user has (Deshpande & Karypis,
"Item-Based Top-N Recommendation Algorithms", 2004, whose neighbours are kept by the user's item, not by the
one that is scored; the latter, as in Sarwar et al., 2001, ranks better. The shrinkage is that of Ferrari
Dacrema, Cremonesi & Jannach, "Are We Really Making Much Progress?", 2019, where neighbours so tuned beat most
of the networks that were looked at).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.sparse import csr_array, vstack

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.order import top_rows
from twotower.baselines.positives import Positives
from twotower.baselines.ranking import ScoreBaseline, Setting, above_zero
from twotower.errors import ConfigError

NEIGHBOURS = (50, 100, 200, 400)
"""Neighbours an item keeps, of the grid."""
SHRINKS = (0.0, 10.0, 100.0)
"""Shrinkages of the grid."""


class ItemKNN(ScoreBaseline):
    """Ranks by the similarity to the user's items.

    Attributes:
        neighbours: how many an item keeps, at least 1.
        shrink: at least 0; at ``sqrt(n_i n_j)`` users the similarity is half the cosine.
        similarity: (n_items, n_items), once fitted: column i holds the neighbours that item i keeps, of
            similarity above 0, equal ones by lower row; no item is its own.
    """

    name = "item kNN"

    def __init__(self, neighbours: int = 100, shrink: float = 10.0) -> None:
        above_zero(self.name, neighbours=neighbours)
        if not (np.isfinite(shrink) and shrink >= 0):
            raise ConfigError(f"shrink of the baseline {self.name!r} must be 0 or more, got {shrink}")
        self.neighbours = neighbours
        self.shrink = shrink

    def settings(self) -> dict[str, Setting]:
        """Return the neighbours and the shrinkage."""
        return {"neighbours": self.neighbours, "shrink": self.shrink}

    @classmethod
    def candidates(cls, positives: Positives) -> Sequence[Self]:
        """Return all pairs of `NEIGHBOURS` and `SHRINKS`."""
        del positives  # one grid for all data
        return [cls(neighbours, shrink) for neighbours in NEIGHBOURS for shrink in SHRINKS]

    def _fit(self, positives: Positives, seed: int) -> None:
        del seed  # nothing random
        popularity = positives.popularity
        n_items = len(popularity)
        blocks = []
        for rows, overlap in positives.overlaps():  # (block, n_items)
            similarity = overlap / (np.sqrt(popularity[rows, None] * popularity) + self.shrink)
            similarity[overlap == 0] = -np.inf
            block = np.arange(len(similarity))
            similarity[block, rows.start + block] = -np.inf
            kept = top_rows(similarity, min(self.neighbours, n_items))
            user_rows, place = np.nonzero(kept >= 0)
            columns = kept[user_rows, place]
            values = similarity[user_rows, columns]
            blocks.append(csr_array((values, (user_rows, columns)), shape=(len(block), n_items)))
        self.similarity = csr_array(vstack(blocks, format="csr").T)

    def _scores(self, users: IntArray) -> FloatArray:
        assert self.positives is not None  # checked by `rank`
        scores: FloatArray = (self.positives.matrix[users] @ self.similarity).toarray()
        return scores
