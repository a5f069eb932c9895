"""`HnswIndex`: a graph of near items, walked from one to the next towards the user.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs", TPAMI 2020.

The graph is walked by inner product, but joins items of like *direction*. Joined by inner product itself,
most items are reached from none: their neighbours are the few longest, and recall comes to a stop whatever
the effort. On vectors of two trained models recall@100 stopped at 0.56 and 0.51 that way, and came to 1.00
with directions at the least effort. Lengthening the vectors to one norm (Bachrach et al., "Speeding up the
Xbox recommender system using a Euclidean transformation for inner-product spaces", RecSys 2014) reaches every
item, but the longest late. Where vectors lie in no clusters, what is best is between the two: the root of the
norm (``damping`` 50) keeps the long ones near. `tune_index` tries both; ``benchmarks/index.py graphs`` has
the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from twotower.errors import ConfigError
from twotower.retrieval import kernels
from twotower.retrieval._faiss import faiss, from_bytes, pointer, threads, to_bytes
from twotower.retrieval.approximate import ApproximateIndex
from twotower.retrieval.exact import share
from twotower.retrieval.index import Parameters


@dataclass(frozen=True)
class HnswParameters(Parameters):
    """Parameters of `HnswIndex`, named as in the paper.

    Attributes
    ----------
    m
        Links of an item in the upper layers, at least 2; twice as many in the lowest.
    ef_construction
        Candidates looked at for the links of an item.
    damping
        Percent of a vector's norm, as a power, that the graph does not see: 100 joins by direction alone, 50
        by vectors as long as the root of their norm. At most 100.
    ef_search
        Candidates kept on the way to a user, or k if that is more: recall against time.
    threads
        Of the building. One builds the same graph each time; with more it depends on who comes first.

    """

    of_search: ClassVar[tuple[str, ...]] = ("ef_search",)

    m: int = 16
    ef_construction: int = 100
    damping: int = 100
    ef_search: int = 128
    threads: int = 1


class HnswIndex(ApproximateIndex):
    """Fast where a few items are wanted of millions; needs memory for a second copy of the vectors."""

    name = "hnsw"
    scans_per_fetch = 128
    _kind = HnswParameters
    _parameters: HnswParameters

    def __init__(self, items: NDArray[np.float32], parameters: HnswParameters, graph: Any) -> None:
        super().__init__(items, parameters)
        self._graph = graph

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: HnswParameters) -> Self:
        if parameters.m < 2:
            raise ConfigError(f"'m' must be at least 2, or nothing is joined; got {parameters.m}.")
        if parameters.damping > 100:
            raise ConfigError(f"'damping' is a percentage, at most 100; got {parameters.damping}.")
        graph = faiss().IndexHNSWFlat(items.shape[1], parameters.m, faiss().METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = parameters.ef_construction
        norm = np.sqrt(np.einsum("ij,ij->i", items, items, dtype=np.float64))
        scale = (np.where(norm > 0, norm, 1) ** (-parameters.damping / 100)).astype(np.float32)
        with threads(parameters.threads):
            graph.add(items * scale[:, None])
        _set_vectors(graph, items)
        return cls(items, parameters, graph)

    def _first_fetch(self, k: int) -> int:
        return min(max(k, self._parameters.ef_search), 2 * k)

    def _nearest(self, users: NDArray[np.float32], fetch: int, effort: int) -> NDArray[np.int64]:
        found = np.empty((users.shape[0], fetch), dtype=np.int64)
        score = np.empty((users.shape[0], fetch), dtype=np.float32)
        ef = max(fetch, self._parameters.ef_search * effort)
        how = faiss().SearchParametersHNSW(efSearch=ef)

        def work(first: int, last: int) -> None:
            with threads(1):
                self._graph.search(
                    users[first:last], fetch, params=how, D=score[first:last], I=found[first:last]
                )

        share(work, users.shape[0], kernels.BLOCK)
        return found

    @property
    def memory(self) -> int:
        """Bytes beside the item vectors: the links, and the copy of the vectors beside them."""
        hnsw = self._graph.hnsw
        links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        return int(links + self.items.nbytes)

    def _payload(self) -> bytes:
        return to_bytes(self._graph, faiss().IO_FLAG_SKIP_STORAGE)

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: HnswParameters, payload: bytes) -> Self:
        graph = from_bytes(payload, faiss().IO_FLAG_SKIP_STORAGE)
        storage = faiss().IndexFlatIP(items.shape[1])
        storage.add(items)
        storage.this.disown()  # the graph frees it
        graph.storage, graph.own_fields = storage, True
        if graph.ntotal != items.shape[0]:
            raise ValueError(f"a graph of {graph.ntotal} items")
        return cls(items, parameters, graph)


def _set_vectors(graph: Any, items: NDArray[np.float32]) -> None:
    """Put the items themselves in the place of their directions; the links stay."""
    storage = faiss().downcast_index(graph.storage)
    faiss().memcpy(storage.get_xb(), pointer(items), items.nbytes)
