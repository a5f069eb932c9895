"""What is known of a user now: the trained vector and history, moved by what has happened since."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from twotower.server.catalogue import NO_ROWS, Rows
from twotower.server.ids import Id
from twotower.server.state import State
from twotower.server.store import Event, EventStore, StoreUnavailable

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Long = NDArray[np.int64]

KEPT = 20_000
"""Users with events whose vectors are kept in memory."""
KEPT_EVENTS = 200_000
"""Events that are kept in memory, of all users together."""
DOWN_SECONDS = 1.0
"""How long a store that did not answer is not asked, where lists are made without it."""
_ATTEMPTS = 5
_NONE: Long = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class User:
    """A user as the next answer sees it.

    Attributes:
        vector: float32 (dim,).
        seen: int32 rows that the user has had, in training or since.
        row: the user's row in the model; None for one that it does not know.
        fresh: int64 rows of what has happened since.
        targets: float64, what ``fresh`` draws scores to, nan for what counts for nothing.
        complete: whether the store said what has happened since training; else that is left out, or as it was
            when it was last read.
    """

    vector: F32
    seen: Rows
    row: int | None
    fresh: Long
    targets: F64
    complete: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Past:
    """The events of a user that count, and the user that they gave in a state.

    Attributes:
        last: place of the last event.
        events: the latest ones, oldest first.
        complete: whether the store said so; else it did not answer, and they are those read before.
        solved: a state, and the user in it; a list of at most one pair.
    """

    last: int = 0
    events: Sequence[Event] = ()
    complete: bool = True
    solved: list[tuple[State, User]] = field(default_factory=list)


class Users:
    """Finds users. The store alone says what has happened; what is kept saves reading and solving again.

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
            return Past(kept.last, kept.events, complete=False)

    async def _read_or_fail_fast(self, key: str) -> Past:
        """Do as `_read`; a store that did not answer is not waited for again within a second."""
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
            if self._store.generation == generation == self._generation:
                break
            if self._store.generation != self._generation:  # what was kept is of what is no longer there
                self._kept.clear()
                self._size = 0
                self._generation = self._store.generation
        else:
            raise StoreUnavailable("the event store keeps being replaced")
        if not new:
            return Past() if kept is None else kept
        kept = self._kept.get(key, Past())  # a request beside this one may have read some of it
        events = [*kept.events, *(placed.event for placed in new if placed.place > kept.last)][-self._most :]
        past = Past(max(kept.last, new[-1].place), events)
        self._kept[key] = past
        self._kept.move_to_end(key)
        self._size += len(events) - len(kept.events)
        while len(self._kept) > KEPT or self._size > KEPT_EVENTS:
            self._size -= len(self._kept.popitem(last=False)[1].events)
        return past


def known(state: State, name: Id, past: Past) -> User | None:
    """Return a user that the model knows or that has events; None for any other."""
    row = state.users.rows.get(name)
    if not past.events:
        return None if row is None else replace(trained(state, row), complete=past.complete)
    for solved, user in past.solved:
        if solved is state:
            return user
    start = nobody(state) if row is None else trained(state, row)
    user = replace(happened(state, start, past.events), complete=past.complete)
    past.solved[:] = [(state, user)]
    return user


def trained(state: State, row: int) -> User:
    """Return a user as trained."""
    own = state.items.now(state.recommender.seen[row])
    return User(state.recommender.users.vectors[row], own, row, _NONE, _NONE.astype(np.float64))


def nobody(state: State) -> User:
    """Return a user of whom nothing is known."""
    return User(state.folding.typical, NO_ROWS, None, _NONE, _NONE.astype(np.float64))


def happened(state: State, user: User, events: Sequence[Event]) -> User:
    """Return a user after events; those of items that are no more known are passed over.

    A skip is seen, and moves nothing: that an item was refused once says little of others. Neither does a
    label that is no positive move a model that learns from positives alone.
    """
    rows = [state.items.row(event.item, gone=True) for event in events]
    pairs = [(event, row) for event, row in zip(events, rows, strict=True) if row is not None]
    if not pairs:
        return user
    fresh = np.array([row for event, row in pairs if event.kind == "interaction"], dtype=np.int64)
    values = [event.value for event, _ in pairs if event.kind == "interaction"]
    seen = np.array([row for _, row in pairs], dtype=np.int32)
    return _moved(state, replace(user, seen=np.append(user.seen, seen)), fresh, state.targets(fresh, values))


def likes(state: State, user: User, rows: Long) -> User:
    """Return a user who is said to like items (rows)."""
    seen = np.append(user.seen, rows.astype(np.int32))
    return _moved(state, replace(user, seen=seen), rows, state.targets(rows, [None] * len(rows)))


def _moved(state: State, user: User, rows: Long, targets: F64) -> User:
    if not len(rows):
        return user
    if user.row is None and user.vector is state.folding.typical:
        vector = state.folding.vector(rows, targets)
    else:
        past, of_past = past_of(state, user)
        vector = state.folding.moved(user.vector, past, of_past, rows, targets)
    return replace(
        user,
        vector=vector,
        fresh=np.append(user.fresh, rows),
        targets=np.append(user.targets, targets),
    )


def past_of(state: State, user: User) -> tuple[Long, F64 | None]:
    """Return the rows that a user had before now, and their targets: of training, and what was fresh."""
    if user.row is None:
        return user.fresh, user.targets
    rows, targets = state.recommender.history_of(user.row)
    if not len(user.fresh):
        return rows, targets
    if targets is None:
        targets = np.full(len(rows), state.folding.settings.positive)
    return np.append(rows, user.fresh), np.append(targets, user.targets)
