"""What the inverted-file indexes share: clusters of items, and the choice of clusters to search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.errors import ConfigError
from twotower.retrieval import kernels
from twotower.retrieval._faiss import faiss, pointer, threads
from twotower.retrieval.exact import exact_top_k, scan, share

_ROUNDS = 10  # of k-means
_SAMPLE = 64  # items per cluster that k-means uses


def cluster(
    items: NDArray[np.float32], nlist: int, seed: int, n_threads: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the centroids (nlist, dim) of k-means and the nearest to each item, (n_items,).

    Nearest by distance: a centroid's inner products would give every item to the longest centroids, and lists
    of similar length make the search fast.
    """
    with threads(n_threads):
        means = faiss().Kmeans(
            items.shape[1],
            nlist,
            niter=_ROUNDS,
            seed=seed,
            min_points_per_centroid=1,  # fewer than it likes is no cause for a warning
            max_points_per_centroid=_SAMPLE,
        )
        means.train(items)
    centroids = np.ascontiguousarray(means.centroids, dtype=np.float32)
    # The nearest centroid c of an item x is the one of the largest x . c - c . c / 2.
    half = np.square(centroids, dtype=np.float64).sum(axis=1, keepdims=True) / 2
    lengthened = np.hstack([items, np.ones((len(items), 1), dtype=np.float32)])  # (n_items, dim + 1)
    nearest = exact_top_k(lengthened, np.hstack([centroids, -half]).astype(np.float32), 1)
    return centroids, np.maximum(nearest.items[:, 0], 0).astype(np.int64)  # -1: every score overflowed


def clusters(nlist: int, n_items: int) -> int:
    """Return the number of clusters: the one given, or four times the root of the items if 0 is given.

    Raises:
        ConfigError: more clusters than items.
    """
    if nlist > n_items:
        raise ConfigError(f"'nlist' must not exceed the number of items, {n_items}; got {nlist}.")
    return nlist or usual(n_items, 4)


def usual(n_items: int, factor: int) -> int:
    """Return ``factor`` times the root of the number of items, with at least 8 items a cluster."""
    return max(1, min(n_items // 8, factor * math.isqrt(n_items)))


def fill(lists: Any, items: NDArray[np.float32], nearest: NDArray[np.int64]) -> None:
    """Put every item into the list of its centroid."""
    with threads(1):  # the order within a list is the catalogue's
        lists.add_core(len(items), pointer(items), None, pointer(nearest))


def look_up(
    lists: Any,
    centroids: NDArray[np.float32],
    users: NDArray[np.float32],
    asked: NDArray[np.float32],
    fetch: int,
    nprobe: int,
) -> NDArray[np.int64]:
    """Return (n_users, fetch) items of the ``nprobe`` lists whose centroids score highest for a user.

    The centroids are scored by our own scan: FAISS uses a matrix product for a batch and none for a user
    alone, and the last list could then be another one. ``asked`` are the users as wide as the lists.
    """
    found = np.empty((users.shape[0], fetch), dtype=np.int64)
    score = np.empty((users.shape[0], fetch), dtype=np.float32)
    nprobe = min(nprobe, len(centroids))
    probed = scan(users, centroids, nprobe, Lists.empty(len(users)), None)
    keys = probed.items.astype(np.int64)
    how = faiss().SearchParametersIVF(nprobe=nprobe)

    def work(first: int, last: int) -> None:
        with threads(1):
            lists.search_preassigned_c(
                last - first,
                pointer(asked[first:last]),
                fetch,
                pointer(keys[first:last]),
                pointer(probed.scores[first:last]),
                pointer(score[first:last]),
                pointer(found[first:last]),
                False,
                how,
            )

    share(work, users.shape[0], kernels.BLOCK)
    return found


def memory(lists: Any, n_items: int, centroids: NDArray[np.float32]) -> int:
    """Bytes of the lists, their item numbers, and the centroids here and in FAISS."""
    return int(n_items * (lists.code_size + 8) + 2 * centroids.nbytes)
