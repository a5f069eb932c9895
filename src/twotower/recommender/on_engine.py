"""`OnEngine`: a model that ranks on the workers of an engine, in blocks of users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.training.engine import Engine

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


class OnEngine(Predictor, Ranker):
    """Predicts here, which is cheap, and ranks on an engine; the lists are the same.

    Args:
        predictor: the model.
        engine: where to rank.
    """

    def __init__(self, predictor: Predictor, engine: Engine) -> None:
        self.predictor, self.engine, self.name = predictor, engine, predictor.name
        self._shared: _Catalogue | None = None

    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Return predictions; see `Predictor`."""
        return self.predictor.predict(data)

    def learned(self, data: Dataset) -> NDArray[np.float64]:
        """Return the labels as the model has learned them; see `Predictor`."""
        return self.predictor.learned(data)

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the lists; see `Ranker`."""
        assert isinstance(self.predictor, Ranker)
        shared = self._shared
        if shared is None or shared.items is not queries.items or shared.tables is not queries.tables:
            shared = self._shared = _Catalogue(self.predictor, queries.items, queries.tables)
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


def _ranked(shared: _Catalogue, part: _Part) -> NDArray[np.int32]:
    request = RankRequest(part.users, shared.items, part.barred, shared.tables, part.context)
    return shared.ranker.rank(request, part.k)
