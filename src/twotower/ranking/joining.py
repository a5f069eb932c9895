"""`joined`: the candidates of the towers and of other sources as one set of fixed size."""

from __future__ import annotations

import numpy as np

from twotower.config.ranker import RankerConfig
from twotower.ranking.kernels import unite
from twotower.ranking.known import F32, Batch, Queried
from twotower.ranking.pool import Pool
from twotower.ranking.sources.registry import SOURCES
from twotower.retrieval import Candidates


def batch_of(
    settings: RankerConfig, queries: Queried, found: Candidates, pool: Pool
) -> tuple[Candidates, Batch]:
    """Return the candidates of queries, and the first ``settings.candidates`` of them with what is known.

    With other sources, the first candidates are all that these find, and the best of the towers up to that
    number, in the order of the towers' score; the others follow as the towers rank them.

    Args:
        settings: of the ranker.
        queries: n of them.
        found: what the towers find, at least ``settings.candidates`` where there are so many.
        pool: what the queries may be given.
    """
    most, offered = settings.candidates, None
    if settings.sources:
        found, offered = _united(settings, queries, found, pool)
    first = found.first(most)
    return found, Batch.of(queries, first, pool.rows, offered)


def found_by(name: str, settings: RankerConfig, queries: Queried, pool: Pool) -> Candidates:
    """Return what one source finds for queries."""
    return SOURCES.get(name).find(queries, pool, settings.source_candidates)


def _united(
    settings: RankerConfig, queries: Queried, found: Candidates, pool: Pool
) -> tuple[Candidates, F32]:
    """Return the candidates of all, and scores and ranks by the sources, float32 (n, candidates, 2 sources),
    nan for what a source did not find."""
    each = [found_by(name, settings, queries, pool) for name in settings.sources]
    n, most = len(queries.asked), min(settings.candidates, found.items.shape[1])
    made = Candidates.empty(n, found.items.shape[1])
    offered = np.full((n, most, 2 * len(each)), np.nan, np.float32)
    unite(
        *(found.items, found.scores),
        *(np.stack([one.items for one in each], axis=1), np.stack([one.scores for one in each], axis=1)),
        *(pool.rows_of(np.arange(pool.size)), queries.asked.vectors, queries.known.vectors),
        *(made.items, made.scores, offered),
    )
    return made, offered
