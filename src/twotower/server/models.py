"""`Models`: the models that one server answers from, and which users each of them gets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twotower.core.vocabulary import Vocabulary
from twotower.errors import ConfigError
from twotower.server.repeating import POLL_SECONDS, repeat
from twotower.server.settings import Settings
from twotower.server.state import State
from twotower.server.state_manager import StateManager
from twotower.server.store import EventStore, Record, StoredItem, StoreUnavailable
from twotower.server.traffic import Traffic

log = logging.getLogger("twotower.server")

TRAFFIC = "traffic"
"""Kind of the store's records of changed shares."""


@dataclass(frozen=True, eq=False)
class Model:
    """One model of a server.

    Attributes:
        run: its name.
        states: has its state.
    """

    run: str
    states: StateManager

    @property
    def state(self) -> State:
        """What it answers from now."""
        return self.states.state


class Models:
    """The models of a server, by name. Without a split there is one, which answers everyone.

    Shares that were changed while serving are kept in the event store: they hold for every server of the
    store, and after a restart with the same models and ``--split``. Another ``--split`` replaces them.

    Attributes:
        traffic: who gets which model, as of now.
    """

    def __init__(self, settings: Settings, store: EventStore) -> None:
        seconds, self._store = settings.limits.load_seconds, store
        self._models = {
            run: Model(run, StateManager(bundle, store, seconds, settings.index))
            for run, bundle in settings.bundles.items()
        }
        self._given = Traffic.of(settings.shares, list(self._models), settings.salt)
        self.traffic = self._given

    @property
    def first(self) -> Model:
        """The first model, which answers everything but lists."""
        return next(iter(self._models.values()))

    @property
    def several(self) -> bool:
        """Whether users are split."""
        return len(self._models) > 1

    def __iter__(self) -> Iterator[Model]:
        """Yield all of them, in the order of the settings."""
        yield from self._models.values()

    def __getitem__(self, run: str) -> Model:
        """Return one by its name."""
        return self._models[run]

    def of_user(self, user: object, traffic: Traffic | None = None) -> Model:
        """Return the model that answers a user; that of the largest share for one without an id."""
        traffic = self.traffic if traffic is None else traffic
        if user is None:
            return self._models[traffic.largest]
        if not self.several:
            return self.first
        return self._models[traffic.model_of(self.key(user))]

    def key(self, user: object) -> str:
        """Return a user's id as the first model writes it, which events are kept under."""
        users: Vocabulary = self.first.state.users
        return str(users.native(user))

    def grouped(self, users: Iterable[object], traffic: Traffic) -> dict[Model, list[int]]:
        """Return the places of users (None for one without an id) by the model that answers them."""
        found: dict[Model, list[int]] = {}
        for place, user in enumerate(users):
            found.setdefault(self.of_user(user, traffic), []).append(place)
        return found

    async def start(self, *, without_store: bool = False) -> None:
        """Load every model, and the shares that the store knows; see `StateManager.start`."""
        for model in self:
            await model.states.start(without_store=without_store)
        try:
            await self.refresh()
        except StoreUnavailable:
            if not without_store:
                raise

    async def poll(self) -> None:
        """Apply other servers' changes of items and shares, once a second, until cancelled."""
        polls = [model.states.poll() for model in self]
        if self.several:
            polls.append(repeat(self.refresh, POLL_SECONDS, "changes of shares can't be applied"))
        await asyncio.gather(*polls)

    async def change(self, item: StoredItem) -> None:
        """Store a change of an item, and apply it to every model.

        Raises:
            StoreUnavailable: it could not be kept.
        """
        await self.first.states.change(item)
        for model in self:
            await model.states.refresh()

    async def set_traffic(self, shares: dict[str, float]) -> Traffic:
        """Change the shares, on every server of the store; those left out get 0.

        Raises:
            ConfigError: a model is unknown, or the shares don't sum to 100.
            StoreUnavailable: they could not be kept.
        """
        changed = Traffic.of(shares, list(self._models), self._given.salt)
        value = json.dumps({"given": self._given.text(), "shares": dict(changed.shares)})
        await self._store.record([Record(TRAFFIC, f"{time.time():020.6f}", value)])
        self.traffic = changed
        return changed

    async def refresh(self) -> None:
        """Apply the last change of shares, if it was made under the same models, split and salt.

        Raises:
            StoreUnavailable: it can't be read.
        """
        if not self.several:
            return
        changes = sorted(await self._store.records(TRAFFIC), key=lambda one: one.key)
        found = self._given
        for change in reversed(changes):
            value = json.loads(change.value)
            if value["given"] == self._given.text():
                try:
                    found = Traffic.of(value["shares"], list(self._models), self._given.salt)
                except ConfigError as error:  # written by another version
                    log.error("shares of the event store can't be applied: %s", error)
                break
        if found != self.traffic:
            log.warning(
                "the split was changed by a request to this or another server, and differs from --split"
                if found != self._given
                else "the split is that of --split",
                extra={"fields": {"shares": dict(found.shares)}},
            )
            self.traffic = found
