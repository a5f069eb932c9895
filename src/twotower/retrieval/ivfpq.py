"""`IvfPqIndex`: clusters of items held as short codes, for catalogues whose vectors are not to be held twice.

Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 2011: a vector's difference
from its centroid is cut into ``m`` pieces, each of which is rounded to one of 256 and stored as a byte. More
items than asked for are fetched by these rounded vectors, and scored by the vectors themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from twotower.core.tensors import exactly, finite, parse
from twotower.errors import ConfigError
from twotower.retrieval import _clusters
from twotower.retrieval._faiss import faiss, pointer, threads
from twotower.retrieval.approximate import ApproximateIndex
from twotower.retrieval.index import Parameters

_BITS = 8
_SAMPLE = 256 * 256  # items that the roundings are learned from, at most


@dataclass(frozen=True)
class IvfPqParameters(Parameters):
    """Parameters of `IvfPqIndex`.

    Attributes:
        nlist: clusters; by default four times the square root of the number of items.
        m: bytes of a code, at most dim; by default a quarter of dim. A dim that is no multiple of it is
            padded.
        nprobe: clusters that a user looks into: recall against time.
        refine: times k that are fetched, to be scored by the vectors themselves: recall against time.
        seed: of the clustering and of the sample.
        threads: of the clustering.
    """

    of_search: ClassVar[tuple[str, ...]] = ("nprobe", "refine")

    nlist: int = 0
    m: int = 0
    nprobe: int = 32
    refine: int = 4
    seed: int = 1
    threads: int = 1


class IvfPqIndex(ApproximateIndex):
    """The smallest: a few bytes an item beside the vectors that it is rescored with."""

    name = "ivfpq"
    scans_per_fetch = 32
    _kind = IvfPqParameters
    _parameters: IvfPqParameters

    def __init__(
        self,
        items: NDArray[np.float32],
        parameters: IvfPqParameters,
        lists: Any,
        centroids: NDArray[np.float32],
    ) -> None:
        super().__init__(items, parameters)
        self._lists, self._centroids = lists, centroids

    @classmethod
    def structures(cls, n_items: int, dim: int, threads: int) -> Iterator[dict[str, int]]:
        """Yield numbers of clusters around the root of the number of items; see `Index.structures`."""
        for factor in (2, 4):
            m = max(1, dim // factor)
            yield {"nlist": _clusters.usual(n_items, factor), "m": m, "threads": threads}

    def efforts(self, k: int) -> Iterator[Self]:
        """Yield the clusters with ``nprobe`` doubled each time, for two values of ``refine``."""
        del k
        nlist = self._parameters.nlist
        for refine in (4, 16):
            for doubling in range(nlist.bit_length()):
                yield self.with_search(nprobe=min(nlist, 1 << doubling), refine=refine)

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: IvfPqParameters) -> Self:
        n_items, dim = items.shape
        if parameters.m > dim:
            raise ConfigError(f"'m' must not exceed dim, {dim}; got {parameters.m}.")
        nlist = _clusters.clusters(parameters.nlist, n_items)
        parameters = replace(parameters, nlist=nlist, m=parameters.m or max(1, dim // 4))
        centroids, nearest = _clusters.cluster(items, nlist, parameters.seed, parameters.threads)
        lists = _empty_lists(centroids, parameters.m)
        draw = np.random.default_rng(parameters.seed)
        chosen = draw.permutation(n_items)[:_SAMPLE]
        rest = _pad(items[chosen] - centroids[nearest[chosen]], parameters.m)
        if len(rest) < 1 << _BITS:  # as many as there are roundings are needed
            rest = np.resize(rest, (1 << _BITS, rest.shape[1]))
        with threads(parameters.threads):
            lists.pq.cp.min_points_per_centroid = 1  # fewer than it likes is no cause for a warning
            lists.pq.train(rest)
        lists.is_trained = True
        _clusters.fill(lists, _pad(items, parameters.m), nearest)
        return cls(items, parameters, lists, centroids)

    def _first_fetch(self, k: int) -> int:
        return k * self._parameters.refine

    def _nearest(self, users: NDArray[np.float32], fetch: int, effort: int) -> NDArray[np.int64]:
        nprobe = self._parameters.nprobe * effort
        asked = _pad(users, self._parameters.m)
        return _clusters.look_up(self._lists, self._centroids, users, asked, fetch, nprobe)

    @property
    def memory(self) -> int:
        """Bytes beside the item vectors: codes, clusters and roundings."""
        roundings = 4 * (1 << _BITS) * _padded(self.dim, self._parameters.m)
        return _clusters.memory(self._lists, self.n_items, self._centroids) + roundings

    def _payload(self) -> bytes:
        return list_arrays(self._lists)

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: IvfPqParameters, payload: bytes) -> Self:
        arrays, (n, dim), m, nlist = parse(payload), items.shape, parameters.m, parameters.nlist
        if m > dim:
            raise ValueError(f"codes of {m} bytes for vectors of dim {dim}")
        wide, roundings = _padded(dim, m), 1 << _BITS
        exactly(
            arrays,
            {
                "centroids": ("float32", (nlist, wide)),
                "roundings": ("float32", (m, roundings, wide // m)),
                "nearest": ("int32", (n,)),
                "codes": ("uint8", (n, m)),
            },
        )
        nearest, codes = arrays["nearest"], arrays["codes"]
        for name in ("centroids", "roundings"):
            finite(f"the {name}", arrays[name])
        if nearest.min() < 0 or nearest.max() >= nlist:
            raise ValueError(f"an item is in none of the {nlist} clusters")
        centroids = np.ascontiguousarray(arrays["centroids"][:, :dim])
        lists = _empty_lists(centroids, m)
        faiss().copy_array_to_vector(arrays["roundings"].reshape(-1), lists.pq.centroids)
        lists.is_trained = True
        order = np.argsort(nearest, kind="stable").astype(np.int64)  # within a list the catalogue's order
        ends = np.searchsorted(nearest[order], np.arange(nlist + 1))
        for number in np.flatnonzero(np.diff(ends)):
            ids = order[ends[number] : ends[number + 1]]
            own = np.ascontiguousarray(codes[ids])
            lists.invlists.add_entries(int(number), len(ids), pointer(ids), pointer(own))
        lists.ntotal = n
        return cls(items, parameters, lists, centroids)


def list_arrays(lists: Any) -> bytes:
    """Return centroids, roundings and of each item its list and its code, as `tensors.parse` reads it."""
    n, m = int(lists.ntotal), int(lists.pq.M)
    nearest, codes = np.full(n, -1, dtype=np.int32), np.zeros((n, m), dtype=np.uint8)
    for number in range(int(lists.nlist)):
        size = int(lists.invlists.list_size(number))
        if not size:
            continue
        ids = faiss().rev_swig_ptr(lists.invlists.get_ids(number), size)
        own = faiss().rev_swig_ptr(lists.invlists.get_codes(number), size * m).reshape(size, m)
        nearest[ids], codes[ids] = number, own
    roundings = faiss().vector_to_array(lists.pq.centroids).reshape(m, 1 << _BITS, -1)
    centroids = lists.quantizer.reconstruct_n(0, int(lists.nlist))
    arrays = {"centroids": centroids, "roundings": roundings, "nearest": nearest, "codes": codes}
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _empty_lists(centroids: NDArray[np.float32], m: int) -> Any:
    """Return lists of centroids (nlist, dim), with nothing in them and no roundings."""
    quantiser = faiss().IndexFlatIP(_padded(centroids.shape[1], m))
    quantiser.add(_pad(centroids, m))
    lists = faiss().IndexIVFPQ(quantiser, quantiser.d, len(centroids), m, _BITS, faiss().METRIC_INNER_PRODUCT)
    quantiser.this.disown()  # the lists free it
    lists.own_fields = True
    return lists


def _padded(dim: int, m: int) -> int:
    return -(-dim // m) * m


def _pad(vectors: NDArray[np.float32], m: int) -> NDArray[np.float32]:
    """Return the vectors with zeros behind, as wide as the next multiple of ``m``."""
    dim = vectors.shape[1]
    if dim % m == 0:
        return vectors
    wide = np.zeros((len(vectors), _padded(dim, m)), dtype=np.float32)
    wide[:, :dim] = vectors
    return wide
