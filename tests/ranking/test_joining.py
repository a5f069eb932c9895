"""The union of candidates against plain Python."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
from hypothesis import given
from hypothesis import strategies as st

from twotower.config.ranker import RankerConfig
from twotower.core.lists import Lists
from twotower.core.registry import Registry
from twotower.ranking import joining
from twotower.ranking.asked import Asked
from twotower.ranking.known import Known, Queried
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.past import Past
from twotower.ranking.pool import Pool
from twotower.ranking.sources.source import Source
from twotower.retrieval import Candidates, exact_top_k

N, N_ITEMS, DIM = 3, 30, 4


def _known(vectors: np.ndarray) -> Known:
    none = np.empty(0, np.int64)
    of = Past.of(none, none, np.empty(0), None, 0, len(vectors))
    empty = np.empty((len(vectors), 0), np.float32)
    nothing = Neighbours(Lists.empty(len(vectors)), np.empty(0, np.float32))
    return Known(of, vectors, vectors, (), (), (), (), empty[:0], empty, {}, nothing, None)


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(6, 40),
    most=st.integers(6, 12),
    k=st.integers(1, 2),
    places=st.booleans(),
)
def test_the_union_has_all_of_the_sources_and_the_best_of_the_towers(
    seed: int, width: int, most: int, k: int, places: bool
) -> None:
    rng = np.random.default_rng(seed)
    width = max(width, most)
    U, V = rng.normal(size=(N, DIM)).astype(np.float32), rng.normal(size=(N_ITEMS, DIM)).astype(np.float32)
    rows = np.append(rng.permutation(N_ITEMS), [-1, -1]) if places else None  # two items are new
    own = V if rows is None else np.concatenate([V[rows[:-2]], rng.normal(size=(2, DIM)).astype(np.float32)])
    open_ = rng.random(N_ITEMS if rows is None else len(rows)) < rng.choice([0.2, 0.9])
    found = exact_top_k(U, own, width, allow=open_)
    proposed = [
        [rng.permutation(np.flatnonzero(open_[:N_ITEMS]))[: rng.integers(0, k + 1)] for _ in range(N)]
        for _ in range(2)
    ]

    def source(lists: list[np.ndarray]) -> type[Source]:
        class Fixed(Source):
            @staticmethod
            def find(queries: Queried, pool: Pool, k: int) -> Candidates:
                made = Candidates.empty(len(lists), k)
                for place, items in enumerate(lists):
                    made.items[place, : len(items)] = items
                    made.scores[place, : len(items)] = -np.arange(len(items))
                return made

        return Fixed

    none = np.empty((N, 0), np.float32)
    queries = Queried(_known(V), Asked(np.full(N, -1), U, none, none, Lists.empty(N)))
    sources: Registry[Source] = joining.SOURCES
    with sources.temporarily(one=source(proposed[0]), two=source(proposed[1])):
        settings = RankerConfig(candidates=most, sources=("one", "two"), source_candidates=k)
        made, batch = joining.batch_of(settings, queries, found, Pool(N_ITEMS, rows, None, open_))
    assert made.items.shape == found.items.shape
    start = 0
    for q in range(N):
        towers = found.items[q][found.items[q] >= 0].tolist()
        named = {int(item) for lists in proposed for item in lists[q]}
        block = set(named)
        for item in towers:
            if len(block) == most and item not in block:
                break
            block.add(item)
        got = made.items[q][made.items[q] >= 0].tolist()
        assert set(got[: len(block)]) == block
        rest = [item for item in towers if item not in block]
        assert got[len(block) :] == rest[: width - len(block)]
        npt.assert_allclose(made.scores[q, : len(got)], own[got] @ U[q], rtol=1e-4, atol=1e-5)
        assert (np.diff(made.scores[q, : len(block)]) <= 0).all()
        ranked = slice(start, start + len(block))
        start += len(block)
        assert batch.offered is not None
        for item, values in zip(got, batch.offered[ranked], strict=False):
            for place, lists in enumerate(proposed):
                at = lists[q].tolist().index(item) if item in lists[q] else np.nan
                npt.assert_array_equal(values[2 * place : 2 * place + 2], [-at, at + 1])
    assert start == len(batch.item)
