"""`StoredTrain`: a training set whose interactions are on disk."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.core.reprs import Facts
from twotower.core.wording import count_of
from twotower.data.dataset import TrainPart
from twotower.data.store.events import StoredEvents
from twotower.data.store.layout import columns_of
from twotower.errors import TwoTowerWarning


class StoredTrain(TrainPart):
    """A training set with `StoredEvents`; the tables of users and items are in memory.

    What reads the store block by block asks `events`. Everything else asks `interactions`, and gets the same
    rows as a frame, in the order of the store: it works, and takes memory for all rows, which a warning says.

    Attributes:
        events: the interactions.
        users, items, schema, notes: as those of a `Dataset`.
    """

    events: StoredEvents

    def __init__(
        self,
        events: StoredEvents,
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
        warnings.warn(
            f"all {count_of(len(self), 'interaction')} of the store are read into memory, for a part of the "
            "run that does not work on a store",
            TwoTowerWarning,
            stacklevel=3,
        )
        return self.in_memory().interactions

    def in_memory(self) -> TrainPart:
        """Return the training set with its interactions in memory, in the order of the store."""
        frames = list(self.events.frames(self.schema))
        return TrainPart(pl.concat(frames), self.users, self.items, self.schema, self.notes)

    def __len__(self) -> int:
        return len(self.events)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.events.folder, self.users, self.items, self.schema, self.notes)

    def _described(self) -> tuple[str, Facts]:
        of = f"{count_of(len(self.events.users), 'user')} with {count_of(len(self.events.items), 'item')}"
        tables = f"{count_of(len(self.users), 'row')} of users, {count_of(len(self.items), 'row')} of items"
        notes = count_of(len(self.notes), "note") + ", see .notes" if self.notes else None
        title = f"{self._name}: {count_of(len(self), 'interaction')} of {of}, stored in {self.events.folder}"
        return title, {"tables": tables, **self.schema.facts(), "notes": notes}

    def role_columns(self) -> list[str]:
        """Return the columns of the interactions that have a role in the schema."""
        named = columns_of(self.schema)
        return [self.schema.user, self.schema.item, *(named[role] for role in self.events.columns)]

    def times(self) -> NDArray[np.float64]:
        """Return the seconds of each interaction, nan where there is no time; the schema must name them."""
        assert self.events.time is not None
        return self.events.time.astype(np.float64)

    def as_train(self) -> TrainPart:
        """Return the set itself: it is one to train on."""
        return self

    def with_notes(self, *notes: str) -> StoredTrain:
        """Return the set with further notes."""
        return StoredTrain(self.events, self.users, self.items, self.schema, self.notes + notes)


def _reopened(folder: Any, *others: Any) -> StoredTrain:
    return StoredTrain(StoredEvents.open(folder, verify=False), *others)
