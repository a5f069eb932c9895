"""What users did since training: read from the event store, and kept in memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twotower.server.inputs import Id
from twotower.server.store import Event, EventStore, StoreUnavailable

if TYPE_CHECKING:
    from twotower.server.queries import EncodedUser
    from twotower.server.state import State

KEPT = 20_000
"""Users with events whose vectors are kept in memory."""
KEPT_EVENTS = 200_000
"""Events that are kept in memory, of all users together."""
DOWN_SECONDS = 1.0
"""How long a store that did not answer is not asked, where lists are made without it."""
_ATTEMPTS = 5


@dataclass(frozen=True, eq=False, slots=True)
class Past:
    """The events of a user that count, and the encoded user that follows from them in a state.

    Attributes:
        last: place of the last event.
        events: the latest ones, oldest first.
        places: of each of them in the store.
        store: name of the data that they were read from.
        complete: whether the store said so; else it did not answer, and they are those read before.
        solved: states, and the user in each; a few, each of another model.
    """

    last: int = 0
    events: Sequence[Event] = ()
    places: Sequence[int] = ()
    store: str = ""
    complete: bool = True
    solved: list[tuple[State, EncodedUser]] = field(default_factory=list)


class UserEvents:
    """The events of users. The store alone says what happened; what is kept saves reading and solving again.

    Args:
        store: of events.
        most: events of one user that count, the latest.
        serve_without: whether trained users are served while the store does not answer.
    """

    def __init__(self, store: EventStore, most: int, *, serve_without: bool = False) -> None:
        self._store, self._most, self._serve_without = store, most, serve_without
        self._kept: OrderedDict[str, Past] = OrderedDict()
        self._size = 0  # events of all that is kept
        self._generation = ""  # of the store that they were read from
        self._down_until = -math.inf

    async def past(self, name: Id, *, without_store: bool = False) -> Past:
        """Return what a user did since training.

        Args:
            name: the id, as the model writes it.
            without_store: whether the store may be done without, if the server serves so.

        Raises:
            StoreUnavailable: events can't be read.
        """
        key = str(name)
        if not (without_store and self._serve_without):
            return await self._read(key)
        try:
            return await self._read_or_fail_fast(key)
        except StoreUnavailable:
            kept = self._kept.get(key, Past())
            return replace(kept, complete=False, solved=[])

    async def _read_or_fail_fast(self, key: str) -> Past:
        """Do as `_read`, but fail at once for a second after the store did not respond."""
        if time.monotonic() < self._down_until:
            raise StoreUnavailable("the event store did not respond a moment ago")
        try:
            return await self._read(key)
        except StoreUnavailable:
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise

    async def _read(self, key: str) -> Past:
        for _ in range(_ATTEMPTS):
            kept, generation = self._kept.get(key), self._generation
            new = await self._store.events_of(key, 0 if kept is None else kept.last)
            now = f"{self._store.generation}/{self._store.removals}"
            if now == generation == self._generation:
                break
            if now != self._generation:  # what was kept is of what is no longer there
                self._kept.clear()
                self._size = 0
                self._generation = now
        else:
            raise StoreUnavailable("the event store keeps being replaced")
        if not new:
            return Past() if kept is None else kept
        kept = self._kept.get(key, Past())  # a request beside this one may have read some of it
        late = [placed for placed in new if placed.place > kept.last]
        events = [*kept.events, *(placed.event for placed in late)][-self._most :]
        places = [*kept.places, *(placed.place for placed in late)][-self._most :]
        past = Past(max(kept.last, new[-1].place), events, places, self._store.data)
        self._kept[key] = past
        self._kept.move_to_end(key)
        self._size += len(events) - len(kept.events)
        while len(self._kept) > KEPT or self._size > KEPT_EVENTS:
            self._size -= len(self._kept.popitem(last=False)[1].events)
        return past
