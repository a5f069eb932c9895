"""`SecondStage`: ranks the candidates of queries again, by trees over their features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twotower.config.ranker import RankerConfig
from twotower.core.lists import cuts
from twotower.core.reprs import ShortRepr
from twotower.ranking.asked import Asked
from twotower.ranking.columns import Feature
from twotower.ranking.groups.registry import features_of, matrix_of
from twotower.ranking.known import Batch, Known, Rows
from twotower.ranking.stage import Stage
from twotower.ranking.trees import Trees
from twotower.retrieval import Candidates

_PAIRS = 1 << 18
"""Pairs whose features are in memory at once."""


@dataclass(frozen=True, eq=False, repr=False)
class SecondStage(Stage, ShortRepr):
    """The ranker of a model.

    Attributes:
        settings: how it was trained, and how many candidates it ranks.
        known: of the model.
        trees: what scores features.
        queries: how many queries it learned from, and how many chose the number of trees.
    """

    settings: RankerConfig
    known: Known
    trees: Trees
    queries: tuple[int, int]

    @cached_property
    def features(self) -> list[Feature]:
        """What the trees read."""
        return features_of(self.known)

    def candidates(self, k: int) -> int:
        """Return how many candidates it needs: those that it ranks, or more for longer lists."""
        return max(k, self.settings.candidates)

    def apply(self, asked: Asked, found: Candidates, rows: Rows | None = None) -> Candidates:
        """Rank the first candidates by the trees, ties as before; the others follow in their order.

        Their scores go on falling from the lowest of the trees, as those of the towers do.
        """
        n, most = len(asked), min(self.settings.candidates, found.items.shape[1])
        items, scores = found.items.copy(), found.scores.copy()
        inside = found.items[:, :most] >= 0
        ends = np.append(0, np.cumsum(inside.sum(axis=1)))
        for first, last in cuts(ends, _PAIRS):
            part = Candidates(found.items[first:last, :most], found.scores[first:last, :most])
            batch = Batch.of(self.known, asked.between(first, last), part, rows)
            made = np.full((last - first, most), -np.inf, np.float32)
            made[inside[first:last]] = self.trees.scores(matrix_of(batch))
            order = np.argsort(-made, axis=1, kind="stable")
            items[first:last, :most] = np.take_along_axis(part.items, order, axis=1)
            scores[first:last, :most] = np.take_along_axis(made, order, axis=1)
        if found.items.shape[1] > most and n:
            lowest, start = scores[:, most - 1 : most], found.scores[:, most - 1 : most]
            with np.errstate(invalid="ignore"):
                later = lowest - (start - found.scores[:, most:])
            scores[:, most:] = np.where(found.items[:, most:] >= 0, later, -np.inf)
        return Candidates(items, scores)

    def without_users(self, kept: NDArray[np.bool_]) -> SecondStage:
        """Return the stage with nothing of the users that are not kept, bool (n_users,)."""
        known = self.known
        return replace(self, known=replace(known, past=known.past.of_users(kept), users=known.users[kept]))

    def importance(self) -> dict[str, float]:
        """Return the share of each feature in what all splits gain, the largest first."""
        gain = self.trees.importance()
        order = np.argsort(-gain, kind="stable")
        return {self.features[place].name: float(gain[place]) for place in order.tolist()}
