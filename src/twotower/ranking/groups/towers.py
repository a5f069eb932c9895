"""towers: the score of the towers and of each of several models that it is the sum of."""

from __future__ import annotations

import numpy as np

from twotower.ranking.columns import Feature
from twotower.ranking.groups.group import F32, FeatureGroup
from twotower.ranking.kernels import dots, standardised
from twotower.ranking.known import Batch, Known

OF_SCORE = ("score", "gap", "scaled", "rank")


class Towers(FeatureGroup):
    """The score, how far it is below the query's best, in standard deviations, and its rank."""

    @staticmethod
    def features(known: Known) -> list[Feature]:
        """Return four features of the towers, and four of each member."""
        names = ["towers", *(member.name for member in known.members)]
        return [Feature(f"{name}_{one}") for name in names for one in OF_SCORE]

    @staticmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write them."""
        known = batch.known
        fill_scores(batch, batch.score, out[:, :4])
        for place, member in enumerate(known.members, 1):
            score = np.empty(len(batch.item), np.float32)
            dots(
                batch.asked.vectors, known.vectors, batch.owner, batch.item, member.first, member.last, score
            )
            fill_scores(batch, score, out[:, 4 * place : 4 * place + 4])


def fill_scores(batch: Batch, score: F32, out: F32) -> None:
    """Write a score (n_pairs,), its gap to the query's best, its standardised value and its rank."""
    out[:, 0] = score
    standardised(batch.indptr, score, out[:, 1], out[:, 2], out[:, 3])
