"""`CandidateLists`: what a second stage ranks, as lists that can be measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.evaluation.stages import FirstStage, FurtherSources
from twotower.ranking.joining import batch_of, found_by
from twotower.ranking.known import Queried
from twotower.ranking.second_stage import SecondStage
from twotower.recommender.list_stages import candidates_of, encoded, read_by
from twotower.recommender.query_encoder import EncodedQueries
from twotower.recommender.state import RecommenderState

if TYPE_CHECKING:
    from twotower.recommender.recommender import Recommender


class CandidateLists(Ranker):
    """The candidates of one source, or those of the towers and all sources in the order of the towers' score.

    Args:
        model: has the second stage.
        stage: that of the model.
        source: name of the source; None for all together.
    """

    def __init__(self, model: RecommenderState, stage: SecondStage, source: str | None = None) -> None:
        self.model, self.stage, self.source = model, stage, source
        self.name = source or "candidates"

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the first k candidates of each user; see `Ranker`."""
        settings = self.stage.settings
        if self.source is None:
            asked, found, pool = candidates_of(self.model, queries, settings.candidates)
            found, _ = batch_of(settings, self._queried(asked), found, pool)
        else:
            asked, _, pool = encoded(self.model, queries)
            found = found_by(self.source, settings, self._queried(asked), pool)
        lists = np.full((len(found.items), k), -1, np.int32)
        lists[:, : found.items.shape[1]] = found.items[:, :k]
        return lists

    def _queried(self, asked: EncodedQueries) -> Queried:
        return Queried(self.stage.known, read_by(self.model, asked))


def first_stage(model: Recommender) -> FirstStage | None:
    """Return where the second stage of a model gets its candidates; None without a second stage."""
    stage, sources = model.ranker, None
    if stage is None:
        return None
    settings = stage.settings
    if settings.sources:
        each = {name: CandidateLists(model, stage, name) for name in settings.sources}
        sources = FurtherSources(each, settings.source_candidates, CandidateLists(model, stage))
    return FirstStage(replace(model, ranker=None, diversity=None), settings.candidates, sources)
