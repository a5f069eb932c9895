"""`Past`: what happened before a query is asked, and `History`, what of it a query's own is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.ranking.asked import Asked

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.int64]
MAX_HISTORY = 200
"""Of a query's history, so many of the last items are looked at."""


@dataclass(frozen=True, eq=False)
class History:
    """What n queries did before they ask, each in the order of time.

    Attributes:
        indptr: int64 (n + 1,): query ``q`` has the entries ``indptr[q]:indptr[q + 1]``, at most
            `MAX_HISTORY`.
        item: int64 (m,) item rows.
        grade: float32 (m,), what each counts, from 0 to 1.
        count: float32 (n,), how many interactions there are in all.
        mean: float32 (n,), their mean grade; nan without any.
        last: float64 (n,), the time of the last one, seconds; nan where not known.
    """

    indptr: Rows
    item: Rows
    grade: F32
    count: F32
    mean: F32
    last: F64


@dataclass(frozen=True, eq=False, repr=False)
class Past(ShortRepr):
    """The interactions that are known: each user's in the order of time, those without a time first.

    Nothing here is later than the training set. A query that says when it is asked (`Asked.at`) sees only
    what was strictly before that.

    Attributes:
        lists: the item rows of each user.
        grade: float32 (m,), what each entry counts, from 0 to 1.
        time: float64 (m,), seconds since 1970-01-01 UTC, nan where unknown; None without timestamps.
        n_items: size of the catalogue.
    """

    lists: Lists
    grade: F32
    time: F64 | None
    n_items: int

    @classmethod
    def of(cls, user: Rows, item: Rows, grade: F64, time: F64 | None, n_users: int, n_items: int) -> Past:
        """Build from interactions in any order; those whose user or item has no row (-1) are left out."""
        known = np.flatnonzero((user >= 0) & (item >= 0))
        order = known if time is None else known[np.argsort(_early(time[known]), kind="stable")]
        order = order[np.argsort(user[order], kind="stable")]
        lists = Lists.from_lengths(np.bincount(user[order], minlength=n_users), item[order].astype(np.int32))
        return cls(lists, grade[order].astype(np.float32), None if time is None else time[order], n_items)

    @cached_property
    def end(self) -> float:
        """The time of the last interaction, seconds; nan without times."""
        known = None if self.time is None else self.time[np.isfinite(self.time)]
        return float("nan") if known is None or not len(known) else float(known.max())

    @cached_property
    def of_items(self) -> tuple[Rows, F64, F64]:
        """Where each item's interactions begin, int64 (n_items + 1,), their times in ascending order, float64
        (m,), -inf where unknown, and the sums of their grades up to each, float64 (m,)."""
        item = self.lists.values
        time = np.full(len(item), -np.inf) if self.time is None else _early(self.time)
        order = np.lexsort((time, item))
        indptr = np.append(0, np.cumsum(np.bincount(item, minlength=self.n_items)))
        total = np.append(0.0, np.cumsum(self.grade[order], dtype=np.float64))
        start = np.repeat(total[indptr[:-1]], np.diff(indptr))
        return indptr.astype(np.int64), time[order], total[1:] - start

    def of_users(self, kept: NDArray[np.bool_]) -> Past:
        """Return the interactions of some users, bool (n_users,), as rows 0, 1, ... in their order."""
        entries = kept[self.lists.owners()]
        lists = Lists.from_lengths(self.lists.lengths[kept], self.lists.values[entries])
        time = None if self.time is None else self.time[entries]
        return Past(lists, self.grade[entries], time, self.n_items)

    def histories(self, asked: Asked) -> History:
        """Return what each query did before it asks: of the training set, then what it brings."""
        n, known = len(asked), np.flatnonzero(asked.rows >= 0)
        places = self.lists.places(asked.rows[known])
        owner, place = known[places.owners()], places.values
        item, grade = self.lists.values[place].astype(np.int64), self.grade[place]
        time = np.full(len(place), np.nan) if self.time is None else self.time[place]
        order_time = _early(time)
        if len(asked.brought.values):
            useful = np.isfinite(asked.grades) & (asked.brought.values >= 0)
            useful &= asked.brought.values < self.n_items
            own = np.full(len(useful), np.nan) if asked.times is None else asked.times
            owner = np.append(owner, asked.brought.owners()[useful])
            item = np.append(item, asked.brought.values[useful])
            grade = np.append(grade, np.clip(asked.grades[useful], 0.0, 1.0).astype(np.float32))
            time = np.append(time, own[useful])
            order_time = np.append(order_time, np.where(np.isnan(own[useful]), np.inf, own[useful]))
        if asked.at is not None:
            before = ~(time >= asked.at[owner])  # without a time, or asked now: nan, so it counts
            owner, item, grade = owner[before], item[before], grade[before]
            time, order_time = time[before], order_time[before]
        if len(asked.brought.values):
            order = np.lexsort((order_time, owner))
            owner, item, grade, time = owner[order], item[order], grade[order], time[order]
        count = np.bincount(owner, minlength=n)
        ends = np.append(0, np.cumsum(count))
        total = np.append(0.0, np.cumsum(grade, dtype=np.float64))
        with np.errstate(invalid="ignore"):
            mean = (total[ends[1:]] - total[ends[:-1]]) / np.where(count > 0, count, np.nan)
        last = np.full(n, np.nan)
        last[count > 0] = time[ends[1:][count > 0] - 1]
        kept = np.arange(len(owner)) >= ends[1:][owner] - MAX_HISTORY
        indptr = np.append(0, np.cumsum(np.minimum(count, MAX_HISTORY)))
        return History(
            indptr, item[kept], grade[kept], count.astype(np.float32), mean.astype(np.float32), last
        )


def _early(time: F64) -> F64:
    """Return times with -inf for unknown ones."""
    return np.where(np.isnan(time), -np.inf, time)
