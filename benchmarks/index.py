"""Speed, recall and memory of retrieval: our indexes, the exact scan and other libraries.

    python benchmarks/index.py large [--items 1000000] [--target 0.95] [--threads 2] [--only hnsw ...]
    python benchmarks/index.py [scan]
    python benchmarks/index.py graphs [--vectors RUN/bundle/vectors.safetensors ...]

``large``: a million clustered vectors of varied norms. Every index is searched with increasing effort until
it reaches the target recall@100; the result is the latency at that point, for a single user on one thread.
usearch, which is not a dependency of the package, is included for comparison, with the original vectors and
with vectors extended to one norm (Bachrach et al., RecSys 2014).

``scan``: the exact top 100 for KuaiRec's 7,176 users and 10,728 items, of which each user has seen about
1,500, against a blockwise matrix product and NumPy's argpartition.

``graphs``: ways to build a graph of items that is searched by inner product, on several kinds of vectors.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
import usearch.index
from numpy.typing import NDArray
from safetensors.numpy import load_file

from twotower.retrieval import INDEXES, Candidates, Index, exact_top_k

Matrix = NDArray[np.float32]
Search = Callable[[Matrix], NDArray[np.integer]]
"""Function from one user (1, dim) to the rows of k items."""

K = 100


def clustered(
    n: int, dim: int, n_clusters: int, spread: float, sigma: float, n_users: int, seed: int = 0
) -> tuple[Matrix, Matrix]:
    """Return items and users around common centres; item norms are log-normal with deviation ``sigma``."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_clusters, dim), dtype=np.float32)
    sides = []
    for rows in (n, n_users):
        noise = np.float32(spread) * rng.standard_normal((rows, dim), dtype=np.float32)
        sides.append(centres[rng.integers(n_clusters, size=rows)] + noise)
    sides[0] *= rng.lognormal(0, sigma, size=(n, 1)).astype(np.float32)
    return sides[0], sides[1]


def share_found(found: NDArray[np.integer], exact: Candidates) -> float:
    """Return the mean share of the exact result that another result contains."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact.items, found, strict=True)]))


def measure(search: Search, users: Matrix, exact: Candidates, passes: int = 2) -> tuple[float, float]:
    """Return recall and microseconds for a single user, from the fastest pass."""
    took = []
    for _ in range(passes):
        start = time.perf_counter()
        found = [search(users[u : u + 1]) for u in range(len(users))]
        took.append(time.perf_counter() - start)
    return share_found(np.stack(found), exact), 1e6 * min(took) / len(users)


def report(
    name: str,
    at_effort: Callable[[int], Search],
    first: int,
    last: int,
    known: tuple[Matrix, Candidates, float],
) -> None:
    """Double the effort until the target is reached, then find the smallest one by bisection."""
    users, exact, target = known

    def reaches(effort: int) -> bool:
        found, microseconds = measure(at_effort(effort), users, exact)
        print(f"  {name}, effort {effort}: recall@{K} {found:.4f}, {microseconds:,.0f} us", flush=True)
        return found >= target

    low, high = 0, first
    while not reaches(high):
        if high == last:
            print(f"  {name}: does not reach recall {target}")
            return
        low, high = high, min(2 * high, last)
    while high - low > max(1, high // 16) and high > first:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    print(f"  {name}: reaches recall {target} with effort {high}")


def ours(index: Index, effort: int) -> Search:
    """Return a search of one of our indexes: `ef_search` candidates, or `nprobe` clusters."""
    if index.name == "hnsw":
        searched = index.with_search(ef_search=effort)
    else:
        more = {"refine": 8} if index.name == "ivfpq" else {}
        searched = index.with_search(nprobe=effort, **more)
    return lambda user: searched.search(user, K).items[0]


def theirs(index: Any, effort: int) -> Search:
    """Return a search of usearch."""
    index.expansion_search = effort
    return lambda user: np.resize(index.search(user[0], K, threads=1).keys.astype(np.int64), K)


def large(given: argparse.Namespace) -> None:
    """Benchmark every index on many items."""
    items, users = clustered(given.items, 64, max(20, given.items // 500), 0.6, 0.3, given.users)
    print(f"{given.items:,} items of dim 64, {items.nbytes / 2**20:,.0f} MiB; {len(users)} users, k {K}")
    exact = exact_top_k(users, items, K)  # compiles
    start = time.perf_counter()
    exact_top_k(users, items, K)
    batch = 1e6 * (time.perf_counter() - start) / len(users)
    some = Candidates(exact.items[:50], exact.scores[:50])
    _, alone = measure(lambda user: exact_top_k(user, items, K).items[0], users[:50], some)
    print(f"  exact: {alone:,.0f} us for a single user, {batch:,.0f} us per user in a batch", flush=True)
    known = (users, exact, given.target)
    structures: dict[str, tuple[str, dict[str, int]]] = {
        "hnsw-directions": ("hnsw", {"m": 16, "ef_construction": 100, "damping": 100}),
        "hnsw-root": ("hnsw", {"m": 16, "ef_construction": 100, "damping": 50}),
        "ivf": ("ivf", {}),
        "ivfpq": ("ivfpq", {}),
    }
    for name, (kind, parameters) in structures.items():
        if given.only and name not in given.only:
            continue
        start = time.perf_counter()
        index = INDEXES[kind].build(items, **parameters, threads=given.threads)
        seconds = time.perf_counter() - start
        print(
            f"{name}: built in {seconds:.1f} s, {index.memory / 2**20:,.0f} MiB, {index.parameters()}",
            flush=True,
        )
        first, last = (K, 6400) if kind == "hnsw" else (4, index.parameters()["nlist"])
        report(name, partial(ours, index), first, last, known)
        del index
    for name, sides in {
        "usearch": (items, users),
        "usearch-lengthened": (lengthened(items), with_zero(users)),
    }.items():
        if given.only and name not in given.only:
            continue
        other = usearch.index.Index(
            ndim=sides[0].shape[1], metric="ip", connectivity=16, expansion_add=100, dtype="f32"
        )
        start = time.perf_counter()
        other.add(np.arange(len(items)), sides[0], threads=given.threads)
        seconds = time.perf_counter() - start
        print(f"{name}: built in {seconds:.1f} s, {other.memory_usage / 2**20:,.0f} MiB", flush=True)
        report(name, partial(theirs, other), K, 6400, (sides[1], exact, given.target))


def lengthened(items: Matrix) -> Matrix:
    """Return items extended to one norm by a column that is 0 for users, which keeps inner products."""
    square = np.square(items, dtype=np.float64).sum(axis=1, keepdims=True)
    return np.hstack([items, np.sqrt(square.max() - square).astype(np.float32)])


def with_zero(users: Matrix) -> Matrix:
    """Return users with an extra column of zeros."""
    return np.hstack([users, np.zeros((len(users), 1), dtype=np.float32)])


def scan(_: argparse.Namespace) -> None:
    """Benchmark the exact scan at the size of KuaiRec against a blockwise matrix product."""
    rng = np.random.default_rng(0)
    users = rng.standard_normal((7176, 64), dtype=np.float32)
    items = rng.standard_normal((10_728, 64), dtype=np.float32)
    users[:, -1], items[:, -1] = 1, 3 * items[:, -1]  # a bias, as a model has
    counts = rng.integers(1000, 2000, len(users))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    seen = np.concatenate([rng.choice(len(items), n, replace=False) for n in counts]).astype(np.int32)

    def by_product() -> NDArray[np.integer]:
        found = []
        for first in range(0, len(users), 512):
            scores = users[first : first + 512] @ items.T  # (users, n_items)
            for u in range(len(scores)):
                scores[u, seen[indptr[first + u] : indptr[first + u + 1]]] = -np.inf
            best = np.argpartition(scores, -K, axis=1)[:, -K:]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
            found.append(np.take_along_axis(best, order, 1))
        return np.concatenate(found)

    def by_scan() -> NDArray[np.integer]:
        return exact_top_k(users, items, K, seen=(indptr, seen)).items

    agree = share_found(by_product(), exact_top_k(users, items, K, seen=(indptr, seen)))
    took: dict[str, list[float]] = {"exact_top_k": [], "matrix product and argpartition": []}
    for _again in range(5):
        for name, run in zip(took, (by_scan, by_product), strict=True):
            start = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - start)
    for name, seconds in took.items():
        print(f"{name}: best {min(seconds):.3f} s, median {sorted(seconds)[2]:.3f} s")
    print(f"share of items in which they agree: {agree:.6f}")
    exact = exact_top_k(users, items, K, seen=(indptr, seen))
    some = Candidates(exact.items[:300], exact.scores[:300])
    place = iter(range(10**9))

    def alone(user: Matrix) -> NDArray[np.integer]:
        u = next(place) % 300
        own = seen[indptr[u] : indptr[u + 1]]
        return np.asarray(exact_top_k(user, items, K, seen=(np.array([0, len(own)]), own)).items[0])

    print(f"single user: {measure(alone, users[:300], some, passes=3)[1]:.0f} us")


def graphs(given: argparse.Namespace) -> None:
    """Benchmark graphs built in several ways, all searched by inner product."""
    kinds = {
        "40 clusters": clustered(20_000, 64, 40, 0.6, 0.2, 200),
        "2,000 clusters": clustered(20_000, 64, 2000, 0.6, 0.3, 200),
        "no clusters": clustered(20_000, 64, 1, 30.0, 0.3, 200),
    }
    for path in given.vectors:
        sides = load_file(path)
        kinds[path] = sides["items"], np.random.default_rng(0).permutation(sides["users"])[:200]
    for name, (items, users) in kinds.items():
        exact = exact_top_k(users, items, K)
        print(f"{name}; recall@{K} at ef_search 100, 200, 400, 800")
        for joined, build in {
            "inner product": partial(_flat_graph, items),
            "extended to one norm": partial(_lengthened_graph, items),
            "root of the norm": partial(_our_graph, items, 50),
            "direction": partial(_our_graph, items, 100),
        }.items():
            search = build()
            found = [share_found(search(users, ef), exact) for ef in (100, 200, 400, 800)]
            print(f"  {joined}: " + ", ".join(f"{share:.3f}" for share in found), flush=True)


def _flat_graph(items: Matrix) -> Callable[[Matrix, int], NDArray[np.integer]]:
    graph = faiss.IndexHNSWFlat(items.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 100
    graph.add(items)
    return lambda users, ef: graph.search(users, K, params=faiss.SearchParametersHNSW(efSearch=ef))[1]  # type: ignore[attr-defined]


def _lengthened_graph(items: Matrix) -> Callable[[Matrix, int], NDArray[np.integer]]:
    search = _flat_graph(lengthened(items))
    return lambda users, ef: search(with_zero(users), ef)


def _our_graph(items: Matrix, damping: int) -> Callable[[Matrix, int], NDArray[np.integer]]:
    index = INDEXES["hnsw"].build(items, m=16, ef_construction=100, damping=damping)
    return lambda users, ef: index.with_search(ef_search=ef).search(users, K).items


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("what", nargs="?", choices=["large", "scan", "graphs"], default="scan")
    arguments.add_argument("--items", type=int, default=1_000_000)
    arguments.add_argument("--users", type=int, default=200)
    arguments.add_argument("--target", type=float, default=0.95)
    arguments.add_argument("--threads", type=int, default=2, help="threads for building")
    arguments.add_argument(
        "--only", nargs="*", default=[], help="hnsw-directions hnsw-root ivf ivfpq usearch usearch-lengthened"
    )
    arguments.add_argument(
        "--vectors", nargs="*", default=[], help="vectors.safetensors of bundles, for graphs"
    )
    given = arguments.parse_args()
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}; load before {load}")
    {"large": large, "scan": scan, "graphs": graphs}[given.what](given)


if __name__ == "__main__":
    main()
