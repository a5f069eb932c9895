"""Events of users and new items since training, and the interface of the store that keeps them."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from twotower.core.erasure import Erasures

Kind = Literal["interaction", "skip"]


class StoreUnavailable(Exception):
    """The store does not respond; nothing was done, and the request may be repeated."""


class EventConflict(Exception):
    """An event has the id of another one, whose content differs; nothing of the request was kept.

    Attributes:
        id: of the event.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the event {name!r} is known with other content")
        self.id = name


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did.

    Attributes:
        id: the sender's name for it; a second event of the same id is the same event sent again.
        user: key of the user, see `twotower.server.inputs`.
        item: key of the item.
        kind: "interaction", or "skip" for an item that was shown and refused.
        value: the label (a rating, a watch ratio); None where the interaction alone is what is known.
        time: seconds since 1970-01-01 UTC.
    """

    id: str
    user: str
    item: str
    kind: Kind
    value: float | None
    time: float

    @property
    def content(self) -> tuple[str, str, str, float | None]:
        """What must be the same in an event that is sent again; its time may be that of our clock."""
        return self.user, self.item, self.kind, self.value


@dataclass(frozen=True, slots=True)
class Placed:
    """An event in its place among those of its user.

    Attributes:
        place: rises from event to event, from 1, and is never given again, whatever is deleted.
        event: the event.
    """

    place: int
    event: Event


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item added or removed since training.

    Attributes:
        key: of the item.
        columns: its columns as they were given, in JSON; None for one that was taken away.
        version: number of the change, rising from change to change; 0 before it is kept.
    """

    key: str
    columns: str | None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """Something else that servers of one store share: who was answered by what, a changed split.

    Attributes:
        kind: what it is.
        key: its name among those of its kind; a second record of a key is left out.
        value: its content, a text.
        user: key of the user whom it is about; "" for nobody.
    """

    kind: str
    key: str
    value: str
    user: str = ""


class EventStore(ABC):
    """Stores events and items durably. Methods may be called from several tasks of one event loop.

    Attributes:
        name: of the kind of store.
        generation: a random name that was made with what the store holds, as of its last answer. If it
            changes, what was read before is no longer there (a database emptied, another file in its place,
            an older copy), and places and versions begin again.
        removals: rises when events are removed, as of its last answer: what was read before may be gone.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.generation, self.removals = "", 0
        self._called_by, self._counters, self._turns = "", (0, 0), 0

    @property
    def data(self) -> str:
        """The name that was made with what the store holds, and is kept with it."""
        return self._called_by

    def _called(self, name: str) -> None:
        """Note the name of the data in the store."""
        if name != self._called_by:
            self._called_by, self._counters = name, (0, 0)
            self._turns += 1
            self.generation = f"{name}/{self._turns}"

    def _counted(self, *counters: int) -> None:
        """Note the last numbers given; if one is lower than before, the store is an older copy."""
        if any(now < before for now, before in zip(counters, self._counters, strict=True)):
            self._turns += 1
            self.generation = f"{self._called_by}/{self._turns}"
        self._counters = (counters[0], counters[1])

    @abstractmethod
    async def open(self) -> None:
        """Connect, or open the file.

        Raises:
            StoreUnavailable: it can't be reached.
            ConfigError: what is there is no store, or one of a newer version.
        """

    @abstractmethod
    async def append(self, events: Sequence[Event]) -> int:
        """Store all events durably and return how many were new.

        An event whose id is known already, from before or within ``events``, is left out if it has the same
        `Event.content`.

        Raises:
            EventConflict: it has other content; no event was kept.
            StoreUnavailable: it could not be done, or not be known to be done, perhaps in part; sending the
                same events again is safe.
        """

    @abstractmethod
    async def events_of(self, user: str, after: int = 0) -> list[Placed]:
        """Return a user's events in the order they were kept, those with a place above ``after``.

        Raises:
            StoreUnavailable: they can't be read.
        """

    @abstractmethod
    async def last(self) -> int:
        """Return the place of the last event that was kept, 0 without any, and refresh `data`.

        Raises:
            StoreUnavailable: it can't be read.
        """

    @abstractmethod
    def between(self, after: int, last: int) -> AsyncIterator[list[Placed]]:
        """Yield the events of all users with a place above ``after`` and up to ``last``, part by part.

        Those of one user come in their order. With ``last`` from `last`, every event that was kept before is
        there, and none that is kept meanwhile.

        Raises:
            StoreUnavailable: they can't be read.
        """

    @abstractmethod
    async def forget(self, user: str) -> int:
        """Delete a user's events durably, record that without the id, and return how many there were.

        Raises:
            StoreUnavailable: it could not be done, or not be known to be done; asking again is safe.
        """

    @abstractmethod
    async def expire(self, before: float) -> int:
        """Delete the events of a time, in seconds since 1970, before this one; return how many there were.

        Raises:
            StoreUnavailable: it could not be done, or not be known to be done.
        """

    @abstractmethod
    async def erased(self, after: int = 0) -> Erasures:
        """Return the users that were deleted, those with a number above ``after``.

        Raises:
            StoreUnavailable: they can't be read.
        """

    @abstractmethod
    async def go_on_from(self, place: int, deletion: int) -> None:
        """Give no place up to this one from now on, and no number of a deletion up to this one.

        Raises:
            StoreUnavailable: it could not be done, or not be known to be done; doing it again is safe.
        """

    @abstractmethod
    async def put_item(self, item: StoredItem) -> None:
        """Store an item durably; it replaces an earlier one of its key.

        Raises:
            StoreUnavailable: it could not be done, or not be known to be done.
        """

    @abstractmethod
    async def items_since(self, version: int = 0) -> list[StoredItem]:
        """Return the items whose last change has a higher number, as they are now, in the order of change.

        Raises:
            StoreUnavailable: they can't be read.
        """

    @abstractmethod
    async def record(self, records: Sequence[Record]) -> None:
        """Keep records durably; one whose kind and key are known is left out.

        Raises:
            StoreUnavailable: it could not be done, or not be known to be done; doing it again is safe.
        """

    @abstractmethod
    async def records(self, kind: str) -> list[Record]:
        """Return all records of a kind.

        Raises:
            StoreUnavailable: they can't be read.
        """

    @abstractmethod
    async def check(self) -> None:
        """Write a test value, as durably as events, and read it again.

        Raises:
            StoreUnavailable: it can't be written, or not be read.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish pending writes, and close files and connections."""


def distinct(events: Sequence[Event]) -> list[Event]:
    """Return each event once.

    Raises:
        EventConflict: two of the same id differ.
    """
    found: dict[str, Event] = {}
    for event in events:
        if found.setdefault(event.id, event).content != event.content:
            raise EventConflict(event.id)
    return list(found.values())


def new_generation() -> str:
    """Return a name for what a new store will hold."""
    return secrets.token_hex(8)
