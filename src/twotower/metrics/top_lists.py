"""`TopLists`: the lists of some users and where their relevant items are in them, which metrics read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numba import njit, prange

from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.errors import DataError
from twotower.metrics.checks import BoolArray, FloatArray, IntArray, checked_values
from twotower.metrics.ranking_lists import TopRows, chunk_count


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items that lists are made of.

    Attributes:
        ids: (n_items,) in the order of the item rows.
        train_rows: (n_items,) training interactions of each item.
        n_train: number of training interactions, including items outside the catalogue.
        tables: has the features of users and items; None where there are none.
    """

    ids: pl.Series
    train_rows: IntArray
    n_train: int
    tables: Dataset | None = None
    _kept: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of_rows(cls, n_items: int) -> Catalogue:
        """Return a catalogue of which nothing but its size is known."""
        return cls(pl.Series("item", range(n_items)), np.zeros(n_items, dtype=np.int64), 0)

    def column(self, name: str) -> pl.Series:
        """Return a column of the items' table, in the order of the item rows; null for unknown items."""
        if self.tables is None or name not in self.tables.items.columns:
            raise DataError(f"the items' table must have the column {name!r}, but has none of this name")
        key = self.tables.schema.item
        ids = self.ids.alias(key).to_frame()
        table = self.tables.items.with_columns(pl.col(key).cast(self.ids.dtype, strict=False))
        return ids.join(table, on=key, how="left", maintain_order="left").get_column(name)

    def once(self, name: str, of_item: Callable[[Catalogue], FloatArray]) -> FloatArray:
        """Return a property of the items, (n_items,), which is computed the first time only."""
        if name not in self._kept:
            size = len(self.ids)
            rule = f"one finite number for each of the {size:,} items from of_item, or nan"
            self._kept[name] = checked_values(name, of_item(self), (size,), rule)
        return self._kept[name]


@dataclass(frozen=True, eq=False)
class TopLists:
    """Lists of some users, their relevant items, and the hits: relevant items that are in the list.

    Attributes:
        lists: (n_users, K) item rows, best first, -1 after the last; K is the largest cut-off.
        ks: the cut-offs, ascending.
        catalogue: the items.
        relevant: the relevant items of each user.
        pair: (n_hits,) where the item of each hit is among ``relevant.values``; user by user, best first.
        rank: (n_hits,) its place in the list, from 1.
        indptr: (n_users + 1,) where the hits of each user begin and end.
    """

    lists: TopRows
    ks: tuple[int, ...]
    catalogue: Catalogue
    relevant: Lists
    pair: IntArray
    rank: IntArray
    indptr: IntArray

    @classmethod
    def of(cls, lists: TopRows, relevant: Lists, ks: tuple[int, ...], catalogue: Catalogue) -> TopLists:
        """Find the hits of valid lists: see `checked_lists` and `checked_items`.

        Raises:
            DataError: the lists are shorter than the largest cut-off.
        """
        width = ks[-1]
        if width > lists.shape[1]:
            raise DataError(
                f"lists must be at least as long as the largest k; got length {lists.shape[1]} for "
                f"k = {width}. Pass longer lists, padded with -1, or use a smaller k."
            )
        lists, n_users = np.ascontiguousarray(lists[:, :width]), len(lists)
        room = np.zeros(n_users + 1, dtype=np.int64)  # no user has more hits
        np.cumsum(np.minimum(relevant.lengths, width), out=room[1:])
        found, indptr = np.empty((2, room[-1]), dtype=np.int32), np.zeros(n_users + 1, dtype=np.int64)
        n_items = len(catalogue.ids)
        _find(lists, *relevant.arrays, n_items, chunk_count(n_users), room, found, indptr[1:])
        np.cumsum(indptr, out=indptr)
        hits = np.empty((2, indptr[-1]), dtype=np.int64)
        _pack(room, indptr, found, hits)
        return cls(lists, ks, catalogue, relevant, hits[0], hits[1], indptr)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.lists)

    @property
    def n_relevant(self) -> IntArray:
        """(n_users,) number of relevant items of each user."""
        return self.relevant.lengths

    @cached_property
    def most(self) -> IntArray:
        """(n_ks, n_users) the most hits that each cut-off has room for: ``min(k, n_relevant)``."""
        most: IntArray = np.minimum(np.array(self.ks)[:, None], self.n_relevant)
        return most

    @cached_property
    def nth(self) -> IntArray:
        """(n_hits,) the number of each hit among its user's, from 1."""
        before = np.repeat(self.indptr[:-1], np.diff(self.indptr))
        nth: IntArray = np.arange(1, len(self.rank) + 1) - before
        return nth

    @cached_property
    def hits(self) -> FloatArray:
        """(n_ks, n_users) number of hits of each user down to each cut-off."""
        return self.totals(np.ones(len(self.rank)))

    @cached_property
    def first(self) -> IntArray:
        """(n_users,) rank of each user's first hit; 0 without one."""
        ranks: IntArray = np.append(self.rank, 0)[self.indptr[:-1]]
        return ranks * (np.diff(self.indptr) > 0)

    def totals(self, worth: FloatArray) -> FloatArray:
        """Sum the worth of each hit (n_hits,) by user, down to each cut-off: (n_ks, n_users)."""
        found = np.empty((len(self.ks), self.n_users))
        _totals(self.indptr, self.rank, worth, np.array(self.ks), found)
        return found

    def means(self, of_item: FloatArray) -> FloatArray:
        """Mean of an item property (n_items,) over each list, down to each cut-off; see `list_means`."""
        return list_means(self.lists, of_item, self.ks)

    def within(self, where: BoolArray) -> TopLists:
        """Return the same lists with only the items relevant that are true in ``where`` (n_relevant,)."""
        hit = where[self.pair]
        pair = (np.cumsum(where) - 1)[self.pair[hit]]
        indptr = np.append(0, np.cumsum(hit))[self.indptr]
        relevant = self.relevant.where(where)
        return TopLists(self.lists, self.ks, self.catalogue, relevant, pair, self.rank[hit], indptr)


def list_means(lists: TopRows, of_item: FloatArray, ks: tuple[int, ...]) -> FloatArray:
    """Mean of an item property over each list, cut off at each k: (n_ks, n_users).

    A list shorter than k has the mean of its items; an empty list has nan and is not counted.

    Args:
        lists: (n_users, K), as `checked_lists` returns them.
        of_item: (n_items,) such as `popularity_percentile` or `self_information`.
        ks: ascending, each from 1 to K.
    """
    means = np.empty((len(ks), len(lists)))
    _list_means(lists, of_item, np.array(ks), means)
    return means


@njit(cache=True, nogil=True, parallel=True)
def _find(lists, pointers, relevant, n_items, chunks, room, found, counts):  # type: ignore[no-untyped-def]
    """Write pair and rank of each user's hits to ``found``, from ``room[u]`` on, and how many they are."""
    n_users, width = lists.shape
    for c in prange(chunks):
        marks = np.full(n_items, -1, dtype=np.int64)  # the last pair in which the item is relevant
        for u in range(c * n_users // chunks, (c + 1) * n_users // chunks):
            first, at = pointers[u], room[u]
            for p in range(first, pointers[u + 1]):
                marks[relevant[p]] = p
            for place in range(width):
                item = lists[u, place]
                if item < 0 or at == room[u + 1]:
                    break
                if marks[item] >= first:
                    found[0, at], found[1, at] = marks[item], place + 1
                    at += 1
            counts[u] = at - room[u]


@njit(cache=True, nogil=True, parallel=True)
def _pack(room, indptr, found, hits):  # type: ignore[no-untyped-def]
    """Move the hits of each user from ``room[u]`` on to ``indptr[u]`` on."""
    for u in prange(indptr.size - 1):
        for at in range(indptr[u + 1] - indptr[u]):
            hits[:, indptr[u] + at] = found[:, room[u] + at]


@njit(cache=True, nogil=True, parallel=True)
def _totals(indptr, rank, worth, ks, totals):  # type: ignore[no-untyped-def]
    for u in prange(indptr.size - 1):
        total, at = 0.0, indptr[u]
        for j in range(ks.size):
            while at < indptr[u + 1] and rank[at] <= ks[j]:
                total += worth[at]
                at += 1
            totals[j, u] = total


@njit(cache=True, nogil=True, parallel=True)
def _list_means(lists, of_item, ks, means):  # type: ignore[no-untyped-def]
    for u in prange(lists.shape[0]):
        total, place = 0.0, 0
        for j in range(ks.size):
            while place < ks[j] and lists[u, place] >= 0:
                total += of_item[lists[u, place]]
                place += 1
            means[j, u] = total / place if place > 0 else np.nan
