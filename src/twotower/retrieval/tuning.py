"""Choosing an index: every kind is measured on the catalogue, and the fastest with enough recall is taken.

Recall and latency depend on the catalogue and the machine, so both are measured. Latency is that of a query
with one user on one thread, as in a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twotower.errors import ConfigError, DataError, nearest
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.exact import check_k
from twotower.retrieval.exact_index import ExactIndex
from twotower.retrieval.index import Index
from twotower.retrieval.registry import INDEXES

_PASSES = 3  # over the sample; the fastest counts, since other work on the machine only adds time
_EXACT = ExactIndex.name


@dataclass(frozen=True)
class Point:
    """The measurements of an index.

    Attributes:
        kind: its name.
        parameters: what it was built and searched with.
        recall: mean share of a user's exact top k that it found.
        microseconds: time of a query with one user on one thread, averaged over the sample.
        build_seconds: time to build it, with the threads of its parameters.
        bytes: memory besides the item vectors.
    """

    kind: str
    parameters: dict[str, int]
    recall: float
    microseconds: float
    build_seconds: float
    bytes: int


@dataclass(frozen=True, eq=False)
class Tuned:
    """The chosen index, and the measurements that it was chosen by.

    Attributes:
        index: the chosen index.
        point: its measurements.
        curve: all measurements, the exact scan first.
        reason: why it was chosen, in a sentence.
    """

    index: Index
    point: Point
    curve: tuple[Point, ...]
    reason: str


def recall(index: Index, exact: Candidates | Index, users: NDArray[np.float32], k: int) -> float:
    """Return the mean share of users' exact top k that an index finds.

    An item that ties with the k-th of the exact answer counts as found.

    Args:
        index: the index to measure.
        exact: the correct answer: that of `exact_top_k` for at least ``k`` items, or an exact index.
        users: (n_users, dim), at least one.
        k: at least 1.

    Raises:
        DataError: no users, or an exact answer for another number of users or with fewer than ``k`` items.
    """
    check_k(k)
    right = exact.search(users, k) if isinstance(exact, Index) else exact
    if not len(users) or right.items.shape[0] != len(users) or right.items.shape[1] < k:
        raise DataError(
            f"recall needs users, and the exact top {k} of each; got {len(users)} users and an answer of "
            f"shape {right.items.shape}."
        )
    found = index.search(users, k)
    there = right.items[:, :k] >= 0
    size = there.sum(axis=1)  # (n_users,)
    worst = np.where(there, right.scores[:, :k], np.inf).min(axis=1)
    hits = ((found.items >= 0) & (found.scores >= worst[:, None])).sum(axis=1)
    return float(np.mean(np.minimum(hits, size)[size > 0] / size[size > 0])) if size.any() else 1.0


def tune_index(
    items: NDArray[np.float32],
    users: NDArray[np.float32],
    k: int,
    target_recall: float = 0.95,
    kinds: Sequence[str] | None = None,
    *,
    exact: bool = True,
    threads: int = 1,
    told: Callable[[Point], None] | None = None,
) -> Tuned:
    """Build and measure indexes of several kinds and return the fastest that reaches a recall.

    The search effort of each structure is doubled until it reaches the target or its maximum. The exact scan
    is measured like the others; it is chosen if it is the fastest or if no other index reaches the target,
    unless ``exact`` is false.

    Args:
        items: (n_items, dim) float32.
        users: (n_users, dim) float32: a sample of typical users; a hundred or more give stable results.
        k: number of items per query.
        target_recall: above 0, at most 1.
        kinds: names in `INDEXES`; by default all but those of vector databases. The exact scan is
            always measured.
        exact: whether the exact scan may be chosen if it is not among ``kinds``.
        threads: number of threads to build with.
        told: called with each measurement as soon as it is made.

    Raises:
        ConfigError: a target outside (0, 1], an unknown kind, or ``k`` below 1; no index that may be chosen
            reaches the target.
        DataError: no users, or vectors that can't be searched.
        MissingExtraError: a kind needs a library that is not installed.
    """
    check_k(k)
    kinds = [kind for kind in INDEXES if kind != _EXACT and INDEXES[kind].tried] if kinds is None else kinds
    if not 0 < target_recall <= 1:
        raise ConfigError(f"`target_recall` must lie in (0, 1]; got {target_recall}.")
    for kind in kinds:
        if kind not in INDEXES:
            raise ConfigError(
                f"`kinds` must be of {', '.join(INDEXES)}; got {kind!r}.{nearest(kind, INDEXES)}"
            )
    scan = ExactIndex.build(items)
    right = scan.search(users, k)
    curve: list[Point] = []
    best: tuple[Point, Index] | None = None  # one index is held besides the one that is measured
    for index, seconds in _built(scan, kinds, k, threads, lambda: curve[-1].recall >= target_recall):
        point = _measure(index, right, users, k, seconds)
        curve.append(point)
        if told is not None:
            told(point)
        taken = exact or _EXACT in kinds or point.kind != _EXACT
        if taken and point.recall >= target_recall:
            best = min(best or (point, index), (point, index), key=lambda one: one[0].microseconds)
    if best is None:
        closest = max((point for point in curve if point.kind != _EXACT), key=lambda point: point.recall)
        raise ConfigError(
            f"no {' or '.join(kinds)} index of these items reaches recall {target_recall:g}, the best has "
            f"{closest.recall:.4f}; lower the target, or choose another kind (exact always reaches it)"
        )
    return Tuned(best[1], best[0], tuple(curve), reason(best[0], curve, target_recall))


def _built(
    scan: Index, kinds: Sequence[str], k: int, threads: int, enough: Callable[[], bool]
) -> Iterator[tuple[Index, float]]:
    """Yield the exact scan, then each index to measure and the seconds that it took to build.

    A structure is yielded with growing search effort until the last measurement is good enough.
    """
    yield scan, 0.0
    for kind in dict.fromkeys(kinds):
        for parameters in [] if kind == _EXACT else INDEXES[kind].structures(scan.n_items, scan.dim, threads):
            start = time.perf_counter()
            built = INDEXES[kind].build(scan.items, **parameters)
            seconds = time.perf_counter() - start
            for index in built.efforts(k):
                yield index, seconds
                if enough():
                    break


def choose(points: Sequence[Point], target_recall: float) -> Point:
    """Return the fastest point that reaches the target; the exact scan always does."""
    return min((p for p in points if p.recall >= target_recall), key=lambda p: p.microseconds)


def reason(chosen: Point, curve: Sequence[Point], target_recall: float) -> str:
    """Return a sentence that says why ``chosen`` was chosen from a curve."""
    exact = next(p for p in curve if p.kind == _EXACT)
    others = [p for p in curve if p.kind != _EXACT]
    if chosen.kind != _EXACT:
        times = exact.microseconds / chosen.microseconds
        faster = f"{times:.1f} times as fast as" if times >= 1 else "slower than"
        return (
            f"{chosen.kind} is the fastest that reaches recall {target_recall:g}: {chosen.recall:.4f} in "
            f"{chosen.microseconds:.0f} us a query, {faster} the exact scan ({exact.microseconds:.0f} us)."
        )
    if not others:
        return "Only the exact scan was measured."
    best = max(others, key=lambda p: p.recall)
    if best.recall < target_recall:
        return (
            f"No approximate index reaches recall {target_recall:g}: the best is {best.kind} with "
            f"{best.recall:.4f} in {best.microseconds:.0f} us. The exact scan is chosen, "
            f"{exact.microseconds:.0f} us a query."
        )
    quick = choose(others, target_recall)
    return (
        f"The exact scan is the fastest: {exact.microseconds:.0f} us a query, where {quick.kind} takes "
        f"{quick.microseconds:.0f} us for recall {quick.recall:.4f}."
    )


def _measure(
    index: Index, right: Candidates, users: NDArray[np.float32], k: int, build_seconds: float
) -> Point:
    found = recall(index, right, users, k)  # also compiles, and warms the caches
    passes = []
    for _ in range(_PASSES):
        start = time.perf_counter()
        for u in range(len(users)):
            index.search(users[u : u + 1], k)
        passes.append(time.perf_counter() - start)
    microseconds = 1e6 * min(passes) / len(users)
    return Point(index.name, index.parameters(), found, microseconds, build_seconds, index.memory)
