"""`HnswIndex`: a graph of neighbouring items that is searched step by step towards the user.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs", TPAMI 2020.

The graph is searched by inner product, but links items of similar *direction*. If items were linked by inner
product, most could not be reached: all links would lead to the few longest, and recall would stop growing
whatever the effort. On vectors of two trained models recall@100 stopped at 0.56 and 0.51 that way, and
reached 1.00 with directions at the lowest effort. Lengthening the vectors to one norm (Bachrach et al.,
"Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces", RecSys
2014) reaches every item, but the longest late. Where vectors form no clusters, something in between is best:
the root of the norm (``damping`` 50) keeps the long ones close. `tune_index` tries both;
``benchmarks/index.py graphs`` has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from twotower.core.tensors import exactly, parse
from twotower.errors import ConfigError
from twotower.retrieval import kernels
from twotower.retrieval._faiss import faiss, pointer, threads
from twotower.retrieval.approximate import ApproximateIndex
from twotower.retrieval.exact import share
from twotower.retrieval.index import Parameters


@dataclass(frozen=True)
class HnswParameters(Parameters):
    """Parameters of `HnswIndex`, named as in the paper.

    Attributes:
        m: links of an item in the upper layers, at least 2; twice as many in the lowest.
        ef_construction: candidates considered for the links of an item.
        damping: how much of a vector's norm, in percent and as a power, the graph ignores: 100 links by
            direction alone, 50 by vectors as long as the root of their norm. At most 100.
        ef_search: candidates kept during a search, or k if that is more: more recall for more time.
        threads: threads to build with. With one the graph is the same each time; with more it is not.
    """

    of_search: ClassVar[tuple[str, ...]] = ("ef_search",)

    m: int = 16
    ef_construction: int = 100
    damping: int = 100
    ef_search: int = 128
    threads: int = 1


class HnswIndex(ApproximateIndex):
    """Fast where a query needs a few of millions of items; needs memory for a second copy of the vectors."""

    name = "hnsw"
    scans_per_fetch = 128
    _kind = HnswParameters
    _parameters: HnswParameters

    def __init__(self, items: NDArray[np.float32], parameters: HnswParameters, graph: Any) -> None:
        super().__init__(items, parameters)
        self._graph = graph

    @classmethod
    def structures(cls, n_items: int, dim: int, threads: int) -> Iterator[dict[str, int]]:
        """Yield graphs with few and many links; see `Index.structures`."""
        del n_items, dim
        for m, ef_construction, damping in ((16, 100, 100), (16, 100, 50), (32, 200, 100)):
            yield {"m": m, "ef_construction": ef_construction, "damping": damping, "threads": threads}

    def efforts(self, k: int) -> Iterator[Self]:
        """Yield the graph with ``ef_search`` doubled each time."""
        for doubling in range(7):
            yield self.with_search(ef_search=max(k, 16) << doubling)

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: HnswParameters) -> Self:
        if parameters.m < 2:
            raise ConfigError(f"'m' must be at least 2, or no items are linked; got {parameters.m}.")
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
        ef = max(fetch, min(self._parameters.ef_search * effort, self.n_items))
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
        """Bytes besides the item vectors: the links, and a copy of the vectors."""
        hnsw = self._graph.hnsw
        links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        return int(links + self.items.nbytes)

    def _payload(self) -> bytes:
        return graph_arrays(self._graph)

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: HnswParameters, payload: bytes) -> Self:
        arrays, n, m = parse(payload), len(items), parameters.m
        links = arrays["neighbors"]
        exactly(
            arrays,
            {"levels": ("int32", (n,)), "neighbors": ("int32", (len(links),)), "entry": ("int64", (1,))},
        )
        if m < 2 or 2 * m * n > len(links):  # before anything is built of this size
            raise ValueError(f"{len(links)} links are too few for {n} items of {2 * m}")
        graph = faiss().IndexHNSWFlat(items.shape[1], m, faiss().METRIC_INNER_PRODUCT)
        offsets = _checked_links(
            links, arrays["levels"], int(arrays["entry"][0]), _array(graph.hnsw.cum_nneighbor_per_level)
        )
        with threads(1):
            _storage(graph).add(items)
        graph.ntotal = n
        for values, place in (
            (arrays["levels"], graph.hnsw.levels),
            (offsets, graph.hnsw.offsets),
            (links, graph.hnsw.neighbors),
        ):
            faiss().copy_array_to_vector(np.ascontiguousarray(values), place)
        graph.hnsw.entry_point = int(arrays["entry"][0])
        graph.hnsw.max_level = int(arrays["levels"].max()) - 1
        return cls(items, parameters, graph)


def graph_arrays(graph: Any) -> bytes:
    """Return a graph without its vectors, as `tensors.parse` reads it."""
    hnsw = graph.hnsw
    return save(
        {
            "levels": _array(hnsw.levels).astype(np.int32),
            "neighbors": _array(hnsw.neighbors).astype(np.int32),
            "entry": np.array([hnsw.entry_point], dtype=np.int64),
        }
    )


def _checked_links(
    links: NDArray[np.int32], levels: NDArray[np.int32], entry: int, widths: NDArray[np.int32]
) -> NDArray[np.uint64]:
    """Return where the links of each item begin, after checking that every link stays within the graph.

    Args:
        links: of all items; -1 for none.
        levels: (n_items,) layers that an item is in.
        entry: the item where a walk begins.
        widths: links of an item in all layers below each layer.

    Raises:
        ValueError: FAISS would read past the end.
    """
    n = len(levels)
    if levels.min() < 1 or levels.max() >= len(widths):
        raise ValueError(f"layers must lie between 1 and {len(widths) - 1}")
    offsets = np.concatenate([[0], np.cumsum(widths[levels], dtype=np.int64)])
    if offsets[-1] != len(links):
        raise ValueError(f"there must be {offsets[-1]} links, and are {len(links)}")
    if links.min() < -1 or links.max() >= n:
        raise ValueError(f"a link leads to none of the {n} items")
    if not 0 <= entry < n or levels[entry] != levels.max():
        raise ValueError("a walk must begin at an item of the highest layer")
    for layer in range(1, int(levels.max())):  # in the lowest are all
        own = np.flatnonzero(levels > layer)
        places = offsets[own][:, None] + np.arange(widths[layer], widths[layer + 1])
        linked = links[places]
        if (levels[linked[linked >= 0]] <= layer).any():
            raise ValueError(f"a link of layer {layer} leads to an item that is not in it")
    return offsets.astype(np.uint64)


def _array(vector: Any) -> NDArray[Any]:
    found: NDArray[Any] = faiss().vector_to_array(vector)
    return found


def _storage(graph: Any) -> Any:
    return faiss().downcast_index(graph.storage)


def _set_vectors(graph: Any, items: NDArray[np.float32]) -> None:
    """Put the items themselves in the place of their directions; the links stay."""
    faiss().memcpy(_storage(graph).get_xb(), pointer(items), items.nbytes)
