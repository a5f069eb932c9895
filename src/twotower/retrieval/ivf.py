"""`IvfIndex`: the items in clusters, of which a user looks into the few whose centroids score highest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from twotower.core.tensors import exactly, finite, parse
from twotower.retrieval import _clusters
from twotower.retrieval._faiss import faiss
from twotower.retrieval.approximate import ApproximateIndex
from twotower.retrieval.index import Parameters


@dataclass(frozen=True)
class IvfParameters(Parameters):
    """Parameters of `IvfIndex`.

    Attributes:
        nlist: clusters; by default four times the square root of the number of items.
        nprobe: clusters that a user looks into: recall against time.
        seed: of the clustering.
        threads: of the clustering.
    """

    of_search: ClassVar[tuple[str, ...]] = ("nprobe",)

    nlist: int = 0
    nprobe: int = 32
    seed: int = 1
    threads: int = 1


class IvfIndex(ApproximateIndex):
    """Builds in a fraction of a graph's time; fast where items lie in clusters, as learned vectors do."""

    name = "ivf"
    scans_per_fetch = 32
    _kind = IvfParameters
    _parameters: IvfParameters

    def __init__(
        self,
        items: NDArray[np.float32],
        parameters: IvfParameters,
        centroids: NDArray[np.float32],
        nearest: NDArray[np.int64],
    ) -> None:
        super().__init__(items, parameters)
        self._centroids, self._nearest_centroid = centroids, nearest.astype(np.int32)
        quantiser = faiss().IndexFlatIP(self.dim)
        quantiser.add(centroids)
        self._lists = faiss().IndexIVFFlat(quantiser, self.dim, len(centroids), faiss().METRIC_INNER_PRODUCT)
        _clusters.fill(self._lists, items, nearest)

    @classmethod
    def structures(cls, n_items: int, dim: int, threads: int) -> Iterator[dict[str, int]]:
        """Yield numbers of clusters around the root of the number of items; see `Index.structures`."""
        del dim
        for factor in (2, 4):
            yield {"nlist": _clusters.usual(n_items, factor), "threads": threads}

    def efforts(self, k: int) -> Iterator[Self]:
        """Yield the clusters with ``nprobe`` doubled each time."""
        del k
        nlist = self._parameters.nlist
        for doubling in range(nlist.bit_length()):
            yield self.with_search(nprobe=min(nlist, 1 << doubling))

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: IvfParameters) -> Self:
        parameters = replace(parameters, nlist=_clusters.clusters(parameters.nlist, len(items)))
        found = _clusters.cluster(items, parameters.nlist, parameters.seed, parameters.threads)
        return cls(items, parameters, *found)

    def _first_fetch(self, k: int) -> int:
        return 2 * k

    def _nearest(self, users: NDArray[np.float32], fetch: int, effort: int) -> NDArray[np.int64]:
        nprobe = self._parameters.nprobe * effort
        return _clusters.look_up(self._lists, self._centroids, users, users, fetch, nprobe)

    @property
    def memory(self) -> int:
        """Bytes beside the item vectors: the copy of them in the lists, and the clusters."""
        lists: Any = self._lists
        return _clusters.memory(lists, self.n_items, self._centroids) + self._nearest_centroid.nbytes

    def _payload(self) -> bytes:
        return save({"centroids": self._centroids, "nearest": self._nearest_centroid})

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: IvfParameters, payload: bytes) -> Self:
        arrays = parse(payload)
        exactly(
            arrays,
            {
                "centroids": ("float32", (parameters.nlist, items.shape[1])),
                "nearest": ("int32", (len(items),)),
            },
        )
        centroids, nearest = arrays["centroids"], arrays["nearest"].astype(np.int64)
        finite("the centroids", centroids)
        if nearest.min() < 0 or nearest.max() >= parameters.nlist:
            raise ValueError(f"an item is in none of the {parameters.nlist} clusters")
        return cls(items, parameters, np.ascontiguousarray(centroids), nearest)
