"""What is known of a user now: the trained vector and history, moved by what has happened since."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

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
_NO_TARGETS: F64 = np.empty(0)


@dataclass(frozen=True, eq=False)
class User:
    """A user as the next answer sees it: an encoded query.

    Attributes:
        vector: float32 (dim,).
        seen: int32 rows that the user has had, in training or since.
        row: the user's row in the model; -1 for one that it does not know.
        items: int64 rows of what has happened since, and of the request's history.
        targets: float64, what ``items`` draw scores to, nan for what counts for nothing.
        events: how many of ``items`` are interactions.
        complete: whether the store said what has happened since training; else that is left out, or as it was
            when it was last read.
    """

    vector: F32
    seen: Rows
    row: int
    items: Long
    targets: F64
    events: int = 0
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
    row = state.users.index.get(name)
    if not past.events:
        return None if row is None else encoded(state, row, complete=past.complete)
    for solved, user in past.solved:
        if solved is state:
            return user
    user = encoded(state, -1 if row is None else row, past.events, complete=past.complete)
    past.solved[:] = [(state, user)]
    return user


def encoded(
    state: State,
    row: int,
    events: Sequence[Event] = (),
    liked: Sequence[int] = (),
    *,
    start: F32 | None = None,
    complete: bool = True,
) -> User:
    """Return a user; see `QueryEncoder.moved`.

    An event of an item that is no more known is passed over. A skip is seen, and moves nothing: that an item
    was refused once says little of others. Neither does a label that is no positive move a model that learns
    from positives alone.

    Args:
        state: to answer from.
        row: the user's row in the model, -1 for someone new.
        events: what has happened since training.
        liked: rows of items that the request says the user likes.
        start: float32 (dim,), the vector from features; None for the trained or the typical one.
        complete: as the attribute.
    """
    model, histories = state.recommender, state.encoder.histories
    if start is None and row >= 0:
        start = model.users.vectors[row]
    trained = NO_ROWS if row < 0 else state.items.now(model.seen[row])
    happened = [(at, event) for event in events if (at := state.items.row(event.item, gone=True)) is not None]
    if not happened and not liked:
        vector = histories.folding.typical if start is None else start
        return User(vector, trained, row, _NONE, _NO_TARGETS, complete=complete)
    items = np.array([*(at for at, _ in happened), *liked], dtype=np.int64)
    labels, skips = None, list[int]()
    if happened:
        labels = np.full(len(items), np.nan)
        for place, (_, event) in enumerate(happened):
            if event.kind != "interaction":
                skips.append(place)
            elif event.value is not None:
                labels[place] = event.value
    targets = histories.liked(items, labels)
    targets[skips] = np.nan
    vector = state.encoder.moved(row, start, items, targets)
    seen = np.append(trained, items.astype(np.int32))
    return User(vector, seen, row, items, targets, len(items) - len(skips), complete)
