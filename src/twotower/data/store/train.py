"""`StoredTrain`: a training set whose interactions are on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.columns import release
from twotower.core.reprs import Facts
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.grouped import GroupedData, columns_of
from twotower.data.store.deriving import DiskEvents, joined, selected
from twotower.data.store.events import StoredEvents
from twotower.errors import TwoTowerWarning


class StoredTrain(GroupedData, TrainPart):
    """A training set with `StoredEvents`; the tables of users and items are in memory.

    What reads the store block by block asks `events`. Everything else asks `interactions`, and gets the same
    rows as a frame, in the order of the store: it works, and takes memory for all rows, which a warning says.

    Attributes:
        events: the interactions, in the order of a store.
        users, items, schema, notes: as those of a `Dataset`.
    """

    events: StoredEvents | DiskEvents

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All interactions as a frame in memory."""
        warnings.warn(
            f"all {count_of(len(self), 'interaction')} of the store are read into memory, for a part of the "
            "run that does not work on a store",
            TwoTowerWarning,
            stacklevel=3,
        )
        return self._frame()

    def in_memory(self) -> TrainPart:
        """Return the training set with its interactions in memory, in the order of the store."""
        return TrainPart(self._frame(), self.users, self.items, self.schema, self.notes)

    def distinct_where(self, which: Callable[[Dataset], NDArray[np.bool_]]) -> StoredTrain:
        """Return some of the interactions, of a user and an item only the first."""
        events = selected(self.events, self.events.space, lambda block: which(self.part(block)))
        return self._with(events)

    def joined(self, validation: Dataset) -> StoredTrain:
        """Return the rows of both datasets, as `TrainPart.joined` does, on disk."""
        schema = self.schema
        types = {schema.user: self.events.users.dtype, schema.item: self.events.items.dtype}
        others = validation.interactions.select(validation.role_columns()).cast(types)  # type: ignore[arg-type]
        names = columns_of(schema)
        ids = (schema.user, schema.item)
        both = self._with(joined(self.events, self.events.space, others, names, ids))
        release(self.events.item, *self.events.columns.values())
        return both

    def _with(self, events: DiskEvents) -> StoredTrain:
        return StoredTrain(events, self.users, self.items, self.schema, self.notes)

    def __reduce__(self) -> tuple[Any, ...]:
        if not isinstance(self.events, StoredEvents):
            raise TypeError("interactions that this process alone has on disk can't be sent to another one")
        return _reopened, (self.events.folder, self.users, self.items, self.schema, self.notes)

    def _described(self) -> tuple[str, Facts]:
        of = f"{count_of(len(self.events.users), 'user')} with {count_of(len(self.events.items), 'item')}"
        tables = f"{count_of(len(self.users), 'row')} of users, {count_of(len(self.items), 'row')} of items"
        notes = count_of(len(self.notes), "note") + ", see .notes" if self.notes else None
        title = f"{self._name}: {count_of(len(self), 'interaction')} of {of}, stored in {self.events.space}"
        return title, {"tables": tables, **self.schema.facts(), "notes": notes}

    def as_train(self) -> TrainPart:
        """Return the set itself: it is one to train on."""
        return self

    def with_notes(self, *notes: str) -> StoredTrain:
        """Return the set with further notes."""
        return StoredTrain(self.events, self.users, self.items, self.schema, self.notes + notes)


def _reopened(folder: Any, *others: Any) -> StoredTrain:
    return StoredTrain(StoredEvents.open(folder, verify=False), *others)
