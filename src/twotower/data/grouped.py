"""Interactions as arrays grouped by user, in memory or memory-mapped, and datasets that have them so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.core.columns import release, spans
from twotower.core.lists import Lists, cuts
from twotower.core.quantiles import quantiles
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, Side

RELEASED: Final = 16
"""Blocks after which the memory of mapped columns is given back."""


@dataclass(frozen=True)
class EventBlock:
    """Whole users that follow one another, with their interactions.

    Attributes:
        first, last: their rows: from ``first`` up to ``last``.
        rows: where their m interactions are in the columns.
        user: int32 (m,), the user row of each.
        item: int32 (m,), the item row of each.
        columns: role -> (m,).
    """

    first: int
    last: int
    rows: slice
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class GroupedEvents:
    """Interactions grouped by user.

    Attributes:
        users: distinct user ids: row ``r`` is ``users[r]``.
        items: distinct item ids.
        indptr: int64 (n_users + 1,): user ``r`` has the interactions ``indptr[r]:indptr[r + 1]``.
        item: int32 (n,), item row of each interaction.
        columns: role (``label``, ``time``, ``weight``, ``duration``) -> (n,), those that there are; times are
            seconds since 1970-01-01 UTC, nan where unknown.
    """

    users: pl.Series
    items: pl.Series
    indptr: NDArray[np.int64]
    item: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.item)

    @property
    def label(self) -> NDArray[Any] | None:
        """Label of each interaction, (n,) float32 or float64; None without labels."""
        return self.columns.get("label")

    @property
    def time(self) -> NDArray[Any] | None:
        """Seconds of each interaction, (n,) uint32 or float64; None without times."""
        return self.columns.get("time")

    @property
    def weight(self) -> NDArray[Any] | None:
        """Weight of each interaction, (n,) float32 or float64; None without weights."""
        return self.columns.get("weight")

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """Number of interactions of each item, int64 (n_items,)."""
        counts = np.zeros(len(self.items), np.int64)
        for part in spans(len(self)):
            counts += np.bincount(self.item[part], minlength=len(counts))
        return counts

    def blocks(self, size: int | None = None) -> Iterator[EventBlock]:
        """Yield all interactions in blocks of whole users.

        Args:
            size: interactions of a block, a million by default; a user with more is a block.
        """
        for number, (first, last) in enumerate(cuts(self.indptr, size)):
            if number % RELEASED == 0:  # what was read before
                release(self.item, *self.columns.values())
            rows = slice(int(self.indptr[first]), int(self.indptr[last]))
            counts = np.diff(self.indptr[first : last + 1])
            user = np.repeat(np.arange(first, last, dtype=np.int32), counts)
            parts = {role: column[rows] for role, column in self.columns.items()}
            yield EventBlock(first, last, rows, user, self.item[rows], parts)

    def frame(self, schema: Schema, block: EventBlock) -> pl.DataFrame:
        """Return a block as a frame with the ids and the columns of the schema, as a `Dataset` has them."""
        columns = [
            self.users.gather(block.user.astype(np.uint32)).alias(schema.user),
            self.items.gather(block.item.astype(np.uint32)).alias(schema.item),
        ]
        for role, values in block.columns.items():
            name = columns_of(schema)[role]
            columns.append(pl.Series(name, values.astype(np.float64)).fill_nan(None))
        return pl.DataFrame(columns)


class GroupedData(Dataset):
    """A dataset whose interactions are `GroupedEvents`; a frame of them is made only for what asks for one.

    Attributes:
        events: the interactions.
    """

    events: GroupedEvents

    def __init__(
        self,
        events: GroupedEvents,
        users: pl.DataFrame,
        items: pl.DataFrame,
        schema: Schema,
        notes: tuple[str, ...] = (),
    ) -> None:
        given: Mapping[str, Any] = {
            "events": events,
            "users": users,
            "items": items,
            "schema": schema,
            "notes": notes,
        }
        self.__dict__.update(given)  # the class is frozen

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All interactions as a frame in memory."""
        return self._frame()

    def _frame(self) -> pl.DataFrame:
        events = self.events
        frames = [events.frame(self.schema, block) for block in events.blocks()]
        return pl.concat(frames)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def columns(self) -> list[str]:
        """The columns of the interactions."""
        named = columns_of(self.schema)
        return [self.schema.user, self.schema.item, *(named[role] for role in self.events.columns)]

    def role_columns(self) -> list[str]:
        """Return the columns of the interactions that have a role in the schema: all."""
        return self.columns

    def times(self) -> NDArray[np.float64]:
        """Return the seconds of each interaction, nan where there is no time; the schema must name them."""
        assert self.events.time is not None
        return self.events.time.astype(np.float64)

    def labels(self) -> NDArray[np.float64]:
        """Return the label of each interaction, float64 (n,); the schema must name them."""
        assert self.events.label is not None
        return self.events.label.astype(np.float64)

    def weights(self) -> NDArray[np.float64]:
        """Return the weight of each interaction, float64 (n,); the schema must name them."""
        assert self.events.weight is not None
        return self.events.weight.astype(np.float64)

    def rows(self, side: Side, ids: Vocabulary) -> NDArray[np.int64]:
        """Return the row of each interaction's user or item among some ids, int64 (n,); -1 for others."""
        events = self.events
        if side == "item":
            return ids.rows(events.items)[events.item]
        return np.repeat(ids.rows(events.users), np.diff(events.indptr))

    def ids(self, side: Side) -> pl.Series:
        """Return the distinct users or items that have interactions, ascending."""
        ids, counts = self._counted(side)
        found = ids if counts.all() else ids.filter(pl.Series(counts > 0))
        return (found if found.is_sorted() else found.sort()).alias(self._column(side))

    def counts(self, side: Side) -> pl.DataFrame:
        """Return the users or items that have interactions, ``id``, and the number of these, ``count``."""
        ids, counts = self._counted(side)
        return pl.DataFrame({"id": ids, "count": counts}).filter(pl.col("count") > 0)

    def _counted(self, side: Side) -> tuple[pl.Series, NDArray[np.int64]]:
        events = self.events
        if side == "user":
            return events.users, np.diff(events.indptr)
        return events.items, events.item_counts

    def pairs_by_user(self, users: pl.Series) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
        """Yield distinct users, part by part in their order, with the columns ``user`` and ``item`` of their
        interactions."""
        events, rows = self.events, Vocabulary(self.events.users).rows(users)
        lists = Lists(events.indptr, events.item)
        lengths = np.where(rows < 0, 0, lists.lengths[rows])
        for first, last in cuts(np.append(0, np.cumsum(lengths))):
            known = rows[first:last][rows[first:last] >= 0]
            own = lists.of(known)
            user, item = known[own.owners()].astype(np.uint32), own.values.astype(np.uint32)
            pairs = {"user": events.users.gather(user), "item": events.items.gather(item)}
            yield users.slice(first, last - first), pl.DataFrame(pairs)

    def blocks(self) -> Iterator[Dataset]:
        """Yield all interactions in blocks of whole users, each a dataset in memory."""
        for block in self.events.blocks():
            yield self.part(block)

    def part(self, block: EventBlock) -> Dataset:
        """Return a block of the interactions as a dataset in memory."""
        rows = self.events.frame(self.schema, block)
        return Dataset(rows, self.users, self.items, self.schema, self.notes)

    def label_quantiles(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles of the labels, as `Dataset.label_quantiles` does."""
        label = self.events.label
        assert label is not None
        return quantiles(lambda: (label[part] for part in spans(len(label))), shares)


def columns_of(schema: Schema) -> dict[str, str]:
    """Return the column of the schema that has each role of `GroupedEvents`."""
    given = {
        "label": schema.label,
        "time": schema.timestamp,
        "weight": schema.weight,
        "duration": schema.duration,
    }
    return {role: name for role, name in given.items() if name is not None}
