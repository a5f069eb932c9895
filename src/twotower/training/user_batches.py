"""`UserBatches`: the pairs of some users and the histories before them, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.kernels.pairs import Pairs
from twotower.objectives import Step
from twotower.towers import History, SideArrays
from twotower.training.step_part import WHOLE, StepPart
from twotower.training.trainer import TrainingTask

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class UserBatch:
    """One step of `Sequences`.

    Attributes:
        users: arrays of the batch's users, with the histories before their last targets.
        row: int64 (n_queries,), the row of ``users`` that asks.
        at: int64 (n_queries,), the last entry of the histories that each query may read; -1 for none.
        context: in what context each query is asked, n_queries rows; None without any.
        time: float64 (n_queries,) seconds, when each is asked; nan where unknown.
        items: int64 (n_items,), the warm rows of items; None for all in order.
        pairs: grouped by query; items are positions in ``items``.
        n: number of pairs of the whole step, also where only some are here.
        step: what the objective needs to know of the sampled items.
    """

    users: SideArrays
    row: torch.Tensor
    at: torch.Tensor
    context: SideArrays | None
    time: NDArray[np.float64]
    items: Rows | None
    pairs: Pairs
    n: int
    step: Step


class UserBatches:
    """Yields batches of whole users in random order, epoch after epoch.

    Of each user the last ``longest`` events before its last target are read, and the targets among them are
    learned. Targets that have nothing before them are kept: they say what suits someone new.

    Args:
        task: the pairs and their queries.
        targets: pairs per step, about.
        sampled: items drawn uniformly for each step, as negatives besides the items of its pairs; at the
            number of items or above, every step has the whole catalogue.
        longest: most events of a user that are read.
        part: which of the users are here.
    """

    def __init__(
        self, task: TrainingTask, targets: int, sampled: int, longest: int, part: StepPart = WHOLE
    ) -> None:
        queries, pairs, seed = task.queries, task.pairs, task.seed
        assert queries is not None
        self.task, self.seed, self.past, self.part = task, seed, queries.past, part
        first = queries.past.indptr[queries.user]
        last = first + queries.seen() - 1  # the last event that each query may read
        n_users = task.users.rows
        bounds = np.searchsorted(queries.user, np.arange(n_users + 1))
        asks = np.flatnonzero(np.diff(bounds))
        self.end = queries.past.indptr[:-1].copy()
        self.end[asks] = np.maximum.reduceat(last, bounds[asks]) + 1 if len(asks) else self.end[asks]
        self.start = np.maximum(queries.past.indptr[:-1], self.end - longest)
        kept = (last < first) | (last >= self.start[queries.user])
        self.last = np.where(last < first, -1, last)
        self.queries = Lists(bounds, np.arange(len(last))).where(kept)
        self.counts = np.diff(pairs.indptr)
        per_user = np.bincount(queries.user[kept], weights=self.counts[kept], minlength=n_users)
        self.users = np.flatnonzero(per_user)
        self.per_user, self.first_user = part.joined(per_user[self.users].astype(np.int64))
        self.n = int(self.per_user.sum())
        self.steps = max(1, round(self.n / targets))
        self.targets = self.n / self.steps
        self.n_items = n_items = part.n_items(task.items.rows)
        self.share = min(sampled / n_items, 1.0)
        self.log_q = None
        if self.share < 1.0:
            learned = Lists(pairs.indptr, pairs.item).of(self.queries.values)
            user = queries.user[self.queries.values][learned.owners()]
            there = np.unique(user * n_items + learned.values)  # once a user, whose pairs are in one batch
            counts = part.sum(np.bincount(there % n_items, minlength=n_items))
            absent = (1.0 - 1.0 / self.steps) ** counts * (1.0 - self.share)
            self.log_q = np.log1p(-absent).astype(np.float32)

    def epoch(self, number: int) -> Iterator[UserBatch]:
        """Yield the batches of an epoch; the same epoch number gives the same batches."""
        seed = hash((self.seed, number)) & 0x7FFF_FFFF_FFFF_FFFF
        rng = np.random.Generator(np.random.SFC64(seed))
        order = rng.permutation(len(self.per_user))  # of all users that have targets
        ends = np.cumsum(self.per_user[order])
        cuts = np.searchsorted(ends, self.targets * np.arange(1, self.steps))
        for place, part in enumerate(np.split(order, cuts)):
            if len(part):
                own = part - self.first_user
                own = own[(own >= 0) & (own < len(self.users))]
                users = np.sort(self.users[own])
                yield self._batch(users, int(self.per_user[part].sum()), rng, seed + place)

    def _batch(self, users: Rows, n: int, rng: np.random.Generator, seed: int) -> UserBatch:
        task, queries = self.task, self.task.queries
        assert queries is not None
        device = task.users.warm.device
        asking = self.queries.of(users)
        lengths = self.end[users] - self.start[users]
        windows = Lists.from_lengths(lengths, np.empty(lengths.sum(), np.int8))
        shift = windows.indptr[:-1] - self.start[users]
        row = asking.owners()
        last = self.last[asking.values]
        at = np.where(last < 0, -1, last + shift[row])
        events = np.arange(len(windows.values)) - np.repeat(shift, lengths)
        past = self.past
        assert past.time is not None
        own = Pairs(windows.indptr, past.item[events], past.label[events], None, past.time[events])
        side = replace(
            task.users.take(torch.from_numpy(users).to(device)), history=History.of(own, queries.catalogue)
        )
        pairs, seed = self._pairs(asking.values), (seed + self.part.number) & 0x7FFF_FFFF_FFFF_FFFF
        items, step = None, Step(seed=seed)
        if self.log_q is not None:
            items, pairs = self._items(pairs, rng)
            step = Step(log_q=self.log_q[items], seed=seed)
        there = [torch.from_numpy(one).to(device) for one in (row, at)]
        context, time = queries.context_of(asking.values), queries.time[asking.values]
        return UserBatch(side, there[0], there[1], context, time, items, pairs, n, step)

    def _pairs(self, rows: Rows) -> Pairs:
        """Return the training pairs of some queries, as rows of their own."""
        pairs = self.task.pairs
        found = Lists(pairs.indptr, np.arange(len(pairs))).of(rows)
        weight = None if pairs.weight is None else pairs.weight[found.values]
        return Pairs(found.indptr, pairs.item[found.values], pairs.label[found.values], weight)

    def _items(self, pairs: Pairs, rng: np.random.Generator) -> tuple[Rows, Pairs]:
        """Return the items of a step and the pairs with positions among them."""
        there = rng.random(self.n_items) < self.share
        there[pairs.item] = True
        if not self.part.whole:
            there = self.part.sum(there.astype(np.int32)) > 0
        place = np.cumsum(there, dtype=np.int32) - np.int32(1)
        return np.flatnonzero(there), replace(pairs, item=place[pairs.item])
