"""`TrainQueries`: who asks in training, when, and what they did before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.kernels.pairs import Pairs
from twotower.towers import History, SideArrays

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainQueries:
    """The queries of the training pairs, for towers that read histories: each user at each of its times.

    Pairs of one user and one time share a query, so that none is in the history of another. With context each
    pair is a query of its own, as it is asked in its own context.

    Attributes:
        user: int64 (n,), warm row of each query's user, ascending.
        time: float64 (n,), ascending for each user; nan for its pairs without a time, whose history is empty.
        past: by warm user, what the training set says that it did; see `in_order`.
        catalogue: the encoded items, whose rows those of ``past`` are.
        context: in what context each query is asked, n rows; None without any.
    """

    user: Rows
    time: F64
    past: Pairs
    catalogue: SideArrays
    context: SideArrays | None = None

    @classmethod
    def of(
        cls,
        user: NDArray[np.integer],
        time: F64,
        past: Pairs,
        catalogue: SideArrays,
        context: SideArrays | None = None,
    ) -> tuple[TrainQueries, Rows]:
        """Return the queries of n pairs, and the query of each pair, int64 (n,).

        Args:
            user: (n,) warm row of each pair's user.
            time: (n,) when the pair was; nan where unknown.
            past: see `in_order`.
            catalogue: the encoded items.
            context: of each pair, n rows; None without any.
        """
        order = np.lexsort((time, user))  # without a time last
        user, time = user[order].astype(np.int64), time[order]
        same = (time[1:] == time[:-1]) | (np.isnan(time[1:]) & np.isnan(time[:-1]))
        first = np.append(True, (user[1:] != user[:-1]) | ~same)[: len(user)]
        if context is not None:
            first[:] = True
            context = context.take(torch.from_numpy(order).to(context.warm.device))
        query = np.empty(len(order), np.int64)
        query[order] = np.cumsum(first) - 1
        return cls(user[first], time[first], past, catalogue, context), query

    def seen(self) -> Rows:
        """Return how many events of its user each query may read: those strictly before its time."""
        assert self.past.time is not None
        counted: Rows = _count_before(self.past.indptr, self.past.time, self.user, self.time)
        return counted

    def arrays(self, users: SideArrays, rows: Rows) -> SideArrays:
        """Return what the user tower reads of some queries.

        Args:
            users: arrays of the warm users.
            rows: int64 (m,) of queries.
        """
        user = self.user[rows]
        history = History.of(history_before(self.past, user, self.time[rows]), self.catalogue)
        arrays = users.take(torch.from_numpy(user).to(users.warm.device))
        return replace(arrays, history=history, context=self.context_of(rows))

    def context_of(self, rows: Rows) -> SideArrays | None:
        """Return the context of some queries, int64 (m,); None without any."""
        if self.context is None:
            return None
        return self.context.take(torch.from_numpy(rows).to(self.context.warm.device))


def in_order(user: NDArray[np.integer], item: NDArray[np.integer], grade: F64, time: F64, n: int) -> Pairs:
    """Return what n users did in the order of time, those of one time in the order given.

    Rows without a time are left out, as nothing is known to come after them; so are those of users or items
    without a row (-1).

    Args:
        user: (m,) rows of users.
        item: (m,) rows of items.
        grade: (m,) what each counts, kept as the label.
        time: (m,) seconds, nan where unknown.
        n: number of users.
    """
    known = np.flatnonzero((user >= 0) & (item >= 0) & np.isfinite(time))
    known = known[np.argsort(time[known], kind="stable")]
    return Pairs.from_arrays(user[known], item[known], grade[known], time=time[known], n_users=n)


def history_before(past: Pairs, user: Rows, time: F64) -> Pairs:
    """Return for each of m queries what its user did strictly before its time, in the order of time.

    Args:
        past: from `in_order`.
        user: int64 (m,) rows of ``past``.
        time: (m,) seconds; nan for an empty history.

    Returns:
        A row a query, with items, grades and times.
    """
    assert past.time is not None
    start = past.indptr[user]
    lengths = _count_before(past.indptr, past.time, user, time)
    within = Lists.from_lengths(lengths, np.empty(lengths.sum(), np.int32))
    at = np.arange(len(within.values)) + np.repeat(start - within.indptr[:-1], lengths)
    return Pairs(within.indptr, past.item[at], past.label[at], None, past.time[at])


@njit(cache=True)
def _count_before(indptr, times, user, time):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return how many of each user's ascending times are below a time: int64 (m,); none below nan."""
    found = np.zeros(len(user), np.int64)
    for q in range(len(user)):
        low, high = indptr[user[q]], indptr[user[q] + 1]
        while low < high:
            middle = (low + high) // 2
            if times[middle] < time[q]:
                low = middle + 1
            else:
                high = middle
        found[q] = low - indptr[user[q]]
    return found
