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
from twotower.ranking.joining import batch_of
from twotower.ranking.known import Known, Queried
from twotower.ranking.pool import Pool
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

    def apply(self, asked: Asked, found: Candidates, pool: Pool) -> Candidates:
        """Rank the first candidates by the trees, ties as before; the others follow in their order.

        Their scores go on falling from the lowest of the trees, as those of the towers do.
        """
        most = min(self.settings.candidates, found.items.shape[1])
        items, scores = found.items.copy(), found.scores.copy()
        ends = np.append(0, np.cumsum((found.items[:, :most] >= 0).sum(axis=1)))
        for first, last in cuts(ends, _PAIRS):
            queries = Queried(self.known, asked.between(first, last))
            given = Candidates(found.items[first:last], found.scores[first:last])
            part, batch = batch_of(self.settings, queries, given, pool.between(first, last))
            inside = part.items[:, :most] >= 0
            made = np.full((last - first, most), -np.inf, np.float32)
            made[inside] = self.trees.scores(matrix_of(batch))
            order = np.argsort(-made, axis=1, kind="stable")
            items[first:last], scores[first:last] = part.items, part.scores
            items[first:last, :most] = np.take_along_axis(part.items[:, :most], order, axis=1)
            scores[first:last, :most] = np.take_along_axis(made, order, axis=1)
            if found.items.shape[1] > most:
                lowest = scores[first:last, most - 1 : most]
                start = part.scores[:, most - 1 : most + 1].max(axis=1, keepdims=True)
                with np.errstate(invalid="ignore"):
                    later = lowest - (start - part.scores[:, most:])
                scores[first:last, most:] = np.where(part.items[:, most:] >= 0, later, -np.inf)
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
