"""`RankerOnEngine`, `OnEngine`: a model that ranks on the workers of an engine, in blocks of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.training.engine import Engine

if TYPE_CHECKING:
    from twotower.recommender.recommender import Recommender

_FEWEST = 64  # users of a block, unless there are fewer


class _Catalogue(NamedTuple):
    """What every block needs: the model, the items, and the features of users and items."""

    ranker: Ranker
    items: pl.Series
    tables: Dataset


class _Part(NamedTuple):
    """The users of a block, what they may not be given, their context, and how long their lists are."""

    users: pl.Series
    barred: Lists
    context: pl.DataFrame | None
    k: int


class RankerOnEngine(Ranker):
    """Ranks on an engine; the lists are the same.

    Args:
        ranker: the model.
        engine: where to rank.
    """

    def __init__(self, ranker: Ranker, engine: Engine) -> None:
        self.ranker, self.engine, self.name = ranker, engine, ranker.name
        self._shared: _Catalogue | None = None

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the lists; see `Ranker`."""
        shared = self._shared
        if shared is None or shared.items is not queries.items or shared.tables is not queries.tables:
            shared = self._shared = _Catalogue(self.ranker, queries.items, queries.tables)
        n = len(queries.users)
        size = max(-(-n // self.engine.workers), _FEWEST)
        parts = [
            _Part(
                queries.users.slice(start, size),
                queries.barred.between(start, min(start + size, n)),
                None if queries.context is None else queries.context.slice(start, size),
                k,
            )
            for start in range(0, n, size)
        ]
        return np.concatenate(list(self.engine.map(_ranked, shared, parts)))


class OnEngine(RankerOnEngine, Predictor):
    """Ranks on an engine, and predicts here, which is cheap."""

    def __init__(self, model: Recommender, engine: Engine) -> None:
        super().__init__(model, engine)
        self.model = model

    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Return predictions; see `Predictor`."""
        return self.model.predict(data)

    def learned(self, data: Dataset) -> NDArray[np.float64]:
        """Return the labels as the model has learned them; see `Predictor`."""
        return self.model.learned(data)


def _ranked(shared: _Catalogue, part: _Part) -> NDArray[np.int32]:
    request = RankRequest(part.users, shared.items, part.barred, shared.tables, part.context)
    return shared.ranker.rank(request, part.k)


def placed(ranker: Ranker, engine: Engine | None) -> Ranker:
    """Return a ranker that ranks on an engine, or as it is without one."""
    return ranker if engine is None else RankerOnEngine(ranker, engine)
