"""Item-based nearest neighbours: items liked by the same users.

The similarity of items i and j is the cosine of their user columns, shrunk so that a few common users count
for little:

    s_ij = n_ij / (sqrt(n_i n_j) + shrink)

where n_i users have i and n_ij have both; with grades, n_ij is the sum over users of the product of both
grades, and n_i the sum of squares. Each item keeps only its most similar items, and a user's score of an item
is the sum of its similarities to those of its neighbours that the user has, each times the user's grade
(Deshpande & Karypis, "Item-Based Top-N Recommendation Algorithms", 2004. They keep the neighbours of the
user's item; here those of the scored item are kept, as in Sarwar et al., 2001, which ranks better. The
shrinkage follows Ferrari Dacrema, Cremonesi & Jannach, "Are We Really Making Much Progress?", 2019, where
such tuned neighbours beat most of the neural networks tested).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, vstack

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.feedback import Feedback
from twotower.baselines.order import top_mask
from twotower.baselines.ranking import ScoreBaseline, above_zero, at_least_zero
from twotower.baselines.search import Ladder, Setting

NEIGHBOURS = (5, 10, 20, 50, 100, 200, 400, 800, 1600, 3200)
"""Numbers of neighbours that tuning may try, up to all items; it starts at 100."""
SHRINKS = Ladder((0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0), start=3, closed=(True, False))
"""Shrinkages that tuning may try."""


class ItemKNN(ScoreBaseline):
    """Ranks by similarity to the user's items.

    Attributes:
        neighbours: number of neighbours of an item, at least 1.
        shrink: at least 0; at ``sqrt(n_i n_j)`` users the similarity is half the cosine.
        similarity: (n_items, n_items), after fitting: column i has the neighbours of item i with similarity
            above 0, ties broken by lower row; an item is not its own neighbour.
        power: exponent of the grades.
    """

    name = "item kNN"
    featured = True

    def __init__(self, neighbours: int = 100, shrink: float = 10.0, power: float = 1.0) -> None:
        super().__init__(power)
        above_zero(self.name, neighbours=neighbours)
        at_least_zero(self.name, shrink=shrink)
        self.neighbours = neighbours
        self.shrink = shrink

    def own_settings(self) -> dict[str, Setting]:
        """Return neighbours and shrinkage."""
        return {"neighbours": self.neighbours, "shrink": self.shrink}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search ranges of neighbours and shrinkage."""
        n_items = len(feedback.items)
        fewer = tuple(n for n in NEIGHBOURS if n < n_items)
        every = n_items <= NEIGHBOURS[-1]
        values = (*fewer, n_items) if every else fewer
        start = min(NEIGHBOURS.index(100), len(values) - 1)
        return {"neighbours": Ladder(values, start, closed=(False, every)), "shrink": SHRINKS}

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        n_items = len(feedback.items)
        squares = np.bincount(feedback.matrix.indices, feedback.matrix.data**2, minlength=n_items)
        blocks = []
        for rows, overlap in feedback.overlaps():  # (block, n_items)
            similarity = overlap / (np.sqrt(squares[rows, None] * squares) + self.shrink)
            similarity[overlap == 0] = -np.inf
            block = np.arange(len(similarity))
            similarity[block, rows.start + block] = -np.inf
            kept = top_mask(similarity, self.neighbours)
            item_rows, columns = np.nonzero(kept)
            blocks.append(csr_array((similarity[kept], (item_rows, columns)), shape=similarity.shape))
        self.similarity = csr_array(vstack(blocks, format="csr").T)

    def _scores(self, users: IntArray) -> FloatArray:
        assert self.feedback is not None  # checked by `rank`
        scores: FloatArray = (self.feedback.matrix[users] @ self.similarity).toarray()
        return scores
