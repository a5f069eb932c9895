"""Interactions on disk made from others: some of them, or those of two sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from twotower.core.columns import release, spans
from twotower.core.fingerprint import Fingerprint
from twotower.core.lists import cuts
from twotower.core.scratch import Scratch
from twotower.core.vocabulary import Vocabulary
from twotower.data.grouped import RELEASED, EventBlock, GroupedEvents
from twotower.data.store.writing import event_columns, fitting, time_order


@dataclass(frozen=True, eq=False, repr=False)
class DiskEvents(GroupedEvents):
    """Interactions in the order of `StoredEvents`, as memory-mapped columns; ids ascend.

    Attributes:
        near: a folder on the disk that they are on.
    """

    near: Path

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each column."""
        columns: list[tuple[str, NDArray[Any]]] = [("indptr", self.indptr), ("item", self.item)]
        columns += self.columns.items()
        found = {name: hashlib.sha256(values.data).hexdigest() for name, values in columns}
        ids = {"users": self.users, "items": self.items}
        return found | {name: Fingerprint().table(name, of.to_frame()).hex() for name, of in ids.items()}

    @property
    def space(self) -> Path:
        """A folder in which further columns may be written for a while."""
        return self.near


def selected(
    events: GroupedEvents, near: Path, keep: Callable[[EventBlock], NDArray[np.bool_]]
) -> DiskEvents:
    """Return some interactions, of a user and an item only the first.

    Args:
        events: the interactions.
        near: a folder on the disk for the result.
        keep: which of a block's (m,) there are.
    """
    stamp = np.full(len(events.items), -1, np.int32)
    counts, of_items = np.zeros(len(events.users), np.int64), np.zeros(len(events.items), np.int64)
    with Scratch(near) as scratch:
        all_items = scratch.column("all", np.int32)
        columns = {role: scratch.column(role, column.dtype) for role, column in events.columns.items()}
        for block in events.blocks():
            kept = np.ascontiguousarray(keep(block), dtype=np.bool_)
            _first_alone(block.user, block.item, kept, stamp)
            item = block.item[kept]
            counts[block.first : block.last] = np.bincount(
                block.user[kept] - block.first, minlength=block.last - block.first
            )
            of_items += np.bincount(item, minlength=len(of_items))
            all_items.append(item)
            for role, column in columns.items():
                column.append(block.columns[role][kept])
        item, there = scratch.take("all"), of_items > 0
        if not there.all():
            item = _renumbered(scratch, item, np.cumsum(there) - 1)
        users = events.users.filter(pl.Series(counts > 0))
        indptr = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        taken = {role: scratch.take(role) for role in columns}
        return DiskEvents(users, events.items.filter(pl.Series(there)), indptr, item, taken, near)


def _renumbered(scratch: Scratch, item: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    column = scratch.column("item", np.int32)
    for part in spans(len(item)):
        column.append(rows[item[part]])
    return scratch.take("item")


@njit(cache=True)
def _first_alone(user, item, kept, stamp):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Clear ``kept`` (m,) where the user has the item in an earlier one."""
    for p in range(len(item)):
        if kept[p]:
            if stamp[item[p]] == user[p]:
                kept[p] = False
            else:
                stamp[item[p]] = user[p]


def joined(
    events: GroupedEvents, near: Path, others: pl.DataFrame, names: Mapping[str, str], ids: tuple[str, str]
) -> DiskEvents:
    """Return the interactions of both; of a user and a time those of ``others`` come last.

    Args:
        events: with ids in ascending order.
        near: a folder on the disk for the result.
        others: interactions in memory, with ids of the same types.
        names: role -> column of ``others``; a column that only one of both has is nan in the other.
        ids: the columns of users and items of ``others``.
    """
    known = (events.users, events.items)
    unions = [
        Vocabulary.distinct(pl.concat([of.alias("id"), others.get_column(column).alias("id")]))
        for of, column in zip(known, ids, strict=True)
    ]
    of_user, of_item = (union.rows(of) for union, of in zip(unions, known, strict=True))
    user, item = (union.rows(others.get_column(column)) for union, column in zip(unions, ids, strict=True))
    added = event_columns(others, names)
    order = time_order(user, added.get("time"))
    user, item = user[order], item[order]
    added = {role: values[order] for role, values in added.items()}
    own = np.zeros(len(unions[0]), np.int64)
    own[of_user] = np.diff(events.indptr)
    new = np.bincount(user, minlength=len(own))
    starts = {"own": np.append(0, np.cumsum(own)), "new": np.append(0, np.cumsum(new))}
    total = starts["own"] + starts["new"]
    roles = dict.fromkeys([*events.columns, *added])
    no_times = np.empty(0)
    with Scratch(near) as scratch:
        columns = {role: scratch.column(role, _type(role, events.columns, added)) for role in roles}
        items = scratch.column("item", np.int32)
        for number, (first, last) in enumerate(cuts(total)):
            if number % RELEASED == 0:
                release(events.item, *events.columns.values())
            here = {name: slice(int(ends[first]), int(ends[last])) for name, ends in starts.items()}
            times = [no_times, no_times]
            if "time" in roles:
                given = (events.columns.get("time"), here["own"]), (added.get("time"), here["new"])
                times = [_part(of, part) for of, part in given]
            source = _merged(own[first:last], new[first:last], *times)
            was = source >= 0
            place, other = source[was], ~source[~was]
            merged = np.empty(len(source), np.int32)
            merged[was] = of_item[events.item[here["own"]]][place]
            merged[~was] = item[here["new"]][other]
            items.append(merged)
            for role, column in columns.items():
                values = np.empty(len(source), column.dtype)
                values[was] = _part(events.columns.get(role), here["own"])[place]
                values[~was] = _part(added.get(role), here["new"])[other]
                column.append(values)
        taken = {role: scratch.take(role) for role in columns}
        return DiskEvents(unions[0].ids, unions[1].ids, total, scratch.take("item"), taken, near)


def _type(role: str, own: Mapping[str, NDArray[Any]], added: Mapping[str, NDArray[np.float64]]) -> Any:
    if role not in own or role not in added:
        return np.dtype(np.float64)
    return np.result_type(own[role].dtype, fitting(role, added[role]))


def _part(column: NDArray[Any] | None, part: slice) -> NDArray[np.float64]:
    if column is None:
        return np.full(part.stop - part.start, np.nan)
    return column[part].astype(np.float64)


@njit(cache=True)
def _merged(own, new, own_time, new_time):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return where the interactions of users come from: a place in the first, or ``~place`` in the second.

    Args:
        own, new: (k,) numbers of interactions of each user.
        own_time, new_time: their times, ascending for each user, nan last; empty without times.
    """
    source = np.empty(own.sum() + new.sum(), np.int64)
    a, b, at = 0, 0, 0
    timed = len(own_time) + len(new_time) > 0
    for u in range(len(own)):
        a_end, b_end = a + own[u], b + new[u]
        while a < a_end or b < b_end:
            second = a == a_end
            if not second and b < b_end and timed:
                second = new_time[b] < own_time[a] or (np.isnan(own_time[a]) and not np.isnan(new_time[b]))
            if second:
                source[at] = ~b
                b += 1
            else:
                source[at] = a
                a += 1
            at += 1
    return source
