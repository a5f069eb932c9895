"""Large batches, reshuffled each epoch and grouped by query.

A query is a user or, for towers that read histories, a user at a time (`twotower.training.queries`). The
training pairs are sorted by query. Each epoch draws a batch number for every pair and distributes the
pairs in order, so each batch is a uniformly random set of pairs that is still sorted by query, as the pair
loop requires. This takes one pass over the data and no sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.kernels.pairs import Pairs
from twotower.objectives import Step
from twotower.training.step_part import WHOLE, StepPart

SMALLEST, LARGEST, STEPS = 8_192, 1_048_576, 12
"""Automatic batch size: bounds, and target number of steps per epoch."""


@dataclass(frozen=True)
class Batch:
    """One step's pairs, over the step's own rows.

    Attributes:
        pairs: grouped by query; row numbers are positions in ``queries`` and ``items``.
        queries: int64 (n_queries,), the distinct rows of the training pairs; None for all in order.
        items: int64 (n_items,), the distinct warm rows of items; None for all in order.
        n: number of pairs of the whole step, also where only some are here.
        step: for objectives that sample: known positives, and the expected count of each item.
    """

    pairs: Pairs
    queries: NDArray[np.int64] | None
    items: NDArray[np.int64] | None
    n: int
    step: Step | None = None


class Batcher:
    """Yields shuffled batches of the training pairs, epoch after epoch.

    Args:
        pairs: the training pairs, grouped by query.
        n_items: number of warm items.
        batch_size: average number of pairs per step, or "auto".
        seed: random seed of all shuffles.
        negatives: None for objectives that use only the pairs. With a number, batches also give the known
            positives in ``V``, and unless they contain all items anyway, about this many uniformly drawn
            items are added (mixed negative sampling, Yang et al., WWW 2020).
        whole: whether every batch contains all queries and items.
        known: the items of each user, and the user of each query, for ``negatives``; None if a query is a
            user.
        part: which of the pairs are here; all that is said of pairs is of these.
    """

    def __init__(
        self,
        pairs: Pairs,
        n_items: int,
        batch_size: int | str,
        seed: int,
        *,
        negatives: int | None = None,
        whole: bool = False,
        known: tuple[Lists, NDArray[np.int64]] | None = None,
        part: StepPart = WHOLE,
    ) -> None:
        n, n_users = map(int, part.sum(np.array([len(pairs), pairs.n_users])))
        size = int(np.clip(-(-n // STEPS), SMALLEST, LARGEST)) if batch_size == "auto" else int(batch_size)
        self.pairs, self.n_items, self.part = pairs, n_items, part
        self.first = int(part.joined(np.array([len(pairs)]))[0][: part.number].sum())
        self.seed = seed
        self.steps = max(1, round(n / size))
        mean = n / self.steps
        # encoding all warm rows is cheaper than finding the distinct ones if a batch has most of them
        self.every_query = whole or mean >= n_users
        self.every_item = whole or mean >= n_items
        self._stamp = np.full(0 if self.every_item else n_items, -1, dtype=np.int32)
        self.negatives = negatives
        self._everyone = pairs.lists if known is None else known[0]
        self._user = None if known is None else known[1]
        self._log_q = None
        if negatives is not None and not self.every_item:
            # Each pair is in a batch with the same probability, independently of the others; and so is each
            # item.
            counts = part.sum(np.bincount(pairs.item, minlength=n_items))
            self._extra = min(negatives / n_items, 1.0)
            absent = (1.0 - 1.0 / self.steps) ** counts * (1.0 - self._extra)
            self._log_q = np.log1p(-absent).astype(np.float32)
        weightless = np.zeros(0, np.float32)
        self._weight = weightless if pairs.weight is None else pairs.weight

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; the same epoch number gives the same batches."""
        p = self.pairs
        users, items, targets, weights, ends = _deal(
            *(p.user, p.item, p.label, self._weight, self.first),
            *(self.steps, self.seed, number, numba.get_num_threads()),
        )
        sizes = self.part.sum(np.diff(ends, prepend=0))
        start = 0
        for number_of_batch, end in enumerate(ends):
            part = slice(start, int(end))
            start = int(end)
            if not sizes[number_of_batch]:
                continue
            weight = weights[part] if len(weights) else None
            seed = hash((self.seed, number, number_of_batch))
            n = int(sizes[number_of_batch])
            yield self._batch(users[part], items[part], targets[part], weight, n, seed)

    def _batch(
        self,
        user: NDArray[np.int32],
        item: NDArray[np.int32],
        target: NDArray[np.float32],
        weight: NDArray[np.float32] | None,
        n: int,
        seed: int,
    ) -> Batch:
        if self.every_query:
            distinct_queries, indptr = None, _row_pointers(user, self.pairs.n_users)
        else:
            starts = np.flatnonzero(np.diff(user, prepend=-1))
            distinct_queries, indptr = (
                user[starts].astype(np.int64),
                np.append(starts, len(user)).astype(np.int64),
            )
        if self.every_item:
            step = None if self.negatives is None else self._step(distinct_queries, None, seed)
            return Batch(Pairs(indptr, item, target, weight), distinct_queries, None, n, step)
        distinct_items, local = self._renumbered(item)
        if self.negatives is None:
            return Batch(Pairs(indptr, local, target, weight), distinct_queries, distinct_items, n)
        rng = np.random.Generator(np.random.SFC64(seed & 0x7FFF_FFFF_FFFF_FFFF))
        drawn = np.flatnonzero(rng.random(self.n_items) < self._extra)
        there = np.append(distinct_items, np.setdiff1d(drawn, distinct_items))
        step = self._step(distinct_queries, there, seed)
        return Batch(Pairs(indptr, local, target, weight), distinct_queries, there, n, step)

    def _renumbered(self, item: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the distinct items of all parts, by first occurrence, and the position of each pair's."""
        own, local = _renumber(item, self._stamp)
        if self.part.whole:
            return own, local
        every, first = self.part.joined(own)
        distinct, place = _renumber(every, self._stamp)
        return distinct, place[first : first + len(own)][local]

    def _step(self, queries: NDArray[np.int64] | None, items: NDArray[np.int64] | None, seed: int) -> Step:
        """Return the training items of a batch's users, as rows of the batch's items."""
        users = queries
        if self._user is not None:
            users = self._user if queries is None else self._user[queries]
        lists = self._everyone if users is None else self._everyone.of(users)
        seed = (seed + self.part.number) & 0x7FFF_FFFF_FFFF_FFFF
        if items is None:
            return Step(lists, None, seed)
        place = np.full(self.n_items, -1, dtype=np.int32)
        place[items] = np.arange(len(items), dtype=np.int32)
        local = Lists(lists.indptr, place[lists.values])
        assert self._log_q is not None
        return Step(local.where(local.values >= 0), self._log_q[items], seed)


@numba.njit(cache=True)
def _mix(x):  # type: ignore[no-untyped-def]  # pragma: no cover
    """SplitMix64's finaliser: maps a counter to 64 well-mixed bits (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(parallel=True, cache=True)
def _deal(  # type: ignore[no-untyped-def]  # pragma: no cover
    user, item, target, weight, first, steps, seed, epoch, chunks
):
    """Assign pairs to ``steps`` batches by a hash of (seed, epoch, position), keeping their order.

    The first pair here has the position ``first``.
    """
    n = len(user)
    key = _mix(np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(epoch))
    key += np.uint64(first) * np.uint64(0x9E3779B97F4A7C15)
    count = np.zeros((chunks, steps), np.int64)
    batch = np.empty(n, np.uint32)
    for c in numba.prange(chunks):
        for i in range(n * c // chunks, n * (c + 1) // chunks):
            b = (_mix(key + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) * np.uint64(steps)
            b = b >> np.uint64(32)
            batch[i] = b
            count[c, b] += 1
    at = np.empty((chunks, steps), np.int64)
    ends = np.empty(steps, np.int64)
    total = 0
    for b in range(steps):
        for c in range(chunks):
            at[c, b] = total
            total += count[c, b]
        ends[b] = total
    users, items = np.empty(n, np.int32), np.empty(n, np.int32)
    targets, weights = np.empty(n, np.float32), np.empty(len(weight), np.float32)
    for c in numba.prange(chunks):
        for i in range(n * c // chunks, n * (c + 1) // chunks):
            place = at[c, batch[i]]
            at[c, batch[i]] = place + 1
            users[place] = user[i]
            items[place] = item[i]
            targets[place] = target[i]
            if len(weight):
                weights[place] = weight[i]
    return users, items, targets, weights, ends


@numba.njit(cache=True)
def _row_pointers(user, n_users):  # type: ignore[no-untyped-def]  # pragma: no cover
    indptr = np.zeros(n_users + 1, np.int64)
    for u in user:
        indptr[u + 1] += 1
    for u in range(n_users):
        indptr[u + 1] += indptr[u]
    return indptr


@numba.njit(cache=True)
def _renumber(item, stamp):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the distinct items by first occurrence and each pair's position among them; resets ``stamp``."""
    distinct = np.empty(len(item), np.int64)
    local = np.empty(len(item), np.int32)
    n = 0
    for p in range(len(item)):
        i = item[p]
        if stamp[i] < 0:
            stamp[i] = n
            distinct[n] = i
            n += 1
        local[p] = stamp[i]
    for d in range(n):
        stamp[distinct[d]] = -1
    return distinct[:n].copy(), local
