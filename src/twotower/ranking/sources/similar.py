"""similar: items whose vectors are like those of the last items."""

from __future__ import annotations

import numpy as np

from twotower.core.lists import Lists
from twotower.ranking.known import Queried
from twotower.ranking.pool import Pool
from twotower.ranking.sources.source import Source
from twotower.retrieval import Candidates, exact_top_k

LAST, DECAY = 10, 0.7
"""How many last items are looked at, and what an item counts relative to the next one."""


class Similar(Source):
    """Items with the highest cosine to the decayed sum of the last 10 items, by their grades."""

    @staticmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k of each query; none without a history."""
        known, history, n = queries.known, queries.history, len(queries.asked)
        back = history.indptr[1:].repeat(np.diff(history.indptr)) - 1 - np.arange(len(history.item))
        kept = back < LAST
        owner = np.repeat(np.arange(n), np.diff(history.indptr))[kept]
        weight = (history.grade[kept] * DECAY ** back[kept]).astype(np.float32)
        wanted = np.zeros((n, known.directions.shape[1]), np.float32)
        np.add.at(wanted, owner, weight[:, None] * known.directions[history.item[kept]])
        length = np.linalg.norm(wanted, axis=1)
        asked = np.flatnonzero(length > 0)
        made = Candidates.empty(n, k)
        unit = wanted[asked] / length[asked, None]
        barred, places = pool.barred_of(n), pool.places
        own = pool.rows_of(barred.values)
        seen = Lists(barred.indptr, own.astype(np.int32)).where(own >= 0).of_many(asked)
        found = exact_top_k(unit, known.directions, k, seen=seen, allow=places >= 0)
        made.items[asked] = np.where(found.items >= 0, places[found.items], -1)
        made.scores[asked] = found.scores
        return made
