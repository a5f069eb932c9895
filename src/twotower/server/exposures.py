"""`Exposures`: which model answered which user, kept for `twotower experiment`."""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict

import polars as pl

from twotower.server.repeating import repeat
from twotower.server.store import EventStore, Record, StoreUnavailable
from twotower.server.traffic import Traffic

log = logging.getLogger("twotower.server")

EXPOSURES = "exposures"
"""Kind of the store's records of who was answered by what."""
FLUSH_SECONDS = 1.0
"""How often they are written: an answer never waits for it."""
KEPT = 100_000
"""Users whose exposure is known to be kept, and most that wait to be written."""


class Exposures:
    """Records the first list that a user gets from a model under a split.

    They are written once a second. After a crash the last second's may be lacking; such a user is recorded
    with the next list.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._known: OrderedDict[str, str] = OrderedDict()  # key of a record -> its user
        self._waiting: dict[str, Record] = {}
        self._erased: int | None = None  # the last deletion that is known
        self.lost = 0
        """Records that were dropped because the store did not respond for long."""

    def saw(self, user: str, run: str, version: str, traffic: Traffic) -> None:
        """Note that a user gets a list of a model.

        Args:
            user: key that events of the user are kept under.
            run: name of the model.
            version: of its bundle.
            traffic: who gets which model.
        """
        key = f"{traffic.text()} {run} {user}"
        if key in self._known:
            self._known.move_to_end(key)
            return
        if len(self._waiting) >= KEPT:
            self.lost += 1
            return
        self._known[key] = user
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        value = {
            "user": user,
            "run": run,
            "version": version,
            "shares": dict(traffic.shares),
            "salt": traffic.salt,
            "time": time.time(),
        }
        self._waiting[key] = Record(EXPOSURES, key, json.dumps(value), user)

    def forget(self, user: str) -> None:
        """Drop what is known of a user, and what waits to be written."""
        for key in [key for key, of in self._known.items() if of == user]:
            del self._known[key]
        for key in [key for key, record in self._waiting.items() if record.user == user]:
            del self._waiting[key]

    async def flush(self) -> None:
        """Write what waits.

        Raises:
            StoreUnavailable: it can't be written now; it waits on.
        """
        if self._waiting:
            await self._leave_out_erased()
            part = dict(self._waiting)
            await self._store.record(list(part.values()))
            for key in part:
                self._waiting.pop(key, None)

    async def _leave_out_erased(self) -> None:
        """Drop who was deleted, by this or another server, since the last time."""
        erasures = await self._store.erased(self._erased or 0)
        if self._erased is not None and erasures.users:
            users = dict.fromkeys(record.user for record in self._waiting.values())
            gone = erasures.places(pl.Series(list(users), dtype=pl.String)) >= 0
            for user in [user for user, deleted in zip(users, gone, strict=True) if deleted]:
                self.forget(user)
        self._erased = max(self._erased or 0, erasures.last)

    async def poll(self) -> None:
        """Write once a second, until cancelled, and then once more."""
        try:
            await repeat(self.flush, FLUSH_SECONDS, "exposures can't be kept")
        finally:
            try:
                await self.flush()
            except StoreUnavailable as error:
                log.error("%d exposures are lost: %s", len(self._waiting), error)
