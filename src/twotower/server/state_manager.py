"""`StateManager`: the state that is served; replaced when items change or a bundle is reloaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from twotower.errors import BundleError, TwoTowerError, nearest
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_bundle, read_facts
from twotower.recommender.fitted_towers import Unknown
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.server.catalogue import Catalogue, LiveItem
from twotower.server.errors import ApiError
from twotower.server.forgetting import rewritten, without_erased
from twotower.server.inputs import Id, encoded_features
from twotower.server.repeating import POLL_SECONDS, repeat
from twotower.server.state import State
from twotower.server.store import EventStore, StoredItem, StoreUnavailable
from twotower.server.store.older_copy import go_on
from twotower.server.warming import warm_up

log = logging.getLogger("twotower.server")

CHECK_SECONDS = 1.0
"""How long a store that kept what was written is taken for a good one."""
LOAD_SECONDS = 300.0
"""Time in which a bundle must have been loaded."""


class StateManager:
    """Holds the current `State`. Requests read `state` once; only this class replaces it.

    Attributes:
        state: what is served now.
        copy: a copy of the bundle that never changes, which is mapped; None to read the bundle itself.
        bundle: directory that it is loaded from.
    """

    def __init__(
        self,
        bundle: Path | str,
        store: EventStore,
        load_seconds: float = LOAD_SECONDS,
        index: str | None = None,
    ) -> None:
        self._index = index
        self.bundle, self._store, self._load_seconds = Path(bundle), store, load_seconds
        self._stuck: threading.Thread | None = None  # a load that was given up
        self._queued = False  # a reload waits for the one under way
        self._changing = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self.copy: Path | None = None
        self._rewriting = asyncio.Lock()
        self._removals = 0  # as of the last look at users that were deleted
        self._applied = 0  # the last change of an item that is in the state
        self._generation = ""  # of the store that the state was made from
        self._opened = False
        self._checking, self._checked = asyncio.Lock(), -math.inf
        self.state: State

    async def start(self, *, without_store: bool = False) -> None:
        """Open the store, load the bundle and the items that the store holds.

        Args:
            without_store: start even if the store does not answer; it is looked for by `poll`.

        Raises:
            BundleError: the bundle can't be served.
            ConfigError: it is not an event store, or one of a newer version.
            StoreUnavailable: the store can't be opened or read.
        """
        try:
            await self._open()
            self.state = await self._load()
            await self.refresh()
            if self.copy is None:  # else one worker does it for all
                await self.forget()
        except StoreUnavailable as error:
            if not without_store:
                raise
            log.error("started without the event store", extra={"fields": {"reason": str(error)}})
            if not self._opened:
                self.state = await self._load()

    async def _open(self) -> None:
        if not self._opened:
            await self._store.open()
            self._opened = True

    async def forget(self) -> str:
        """Leave out the users that were deleted from the store, here and in the bundle on disk.

        Returns:
            Why the bundle on disk still has them; empty if it has not.

        Raises:
            StoreUnavailable: the store can't be read.
        """
        async with self._changing:
            self.state = await self._without_erased(self.state)
        async with self._rewriting:
            every = await self._store.erased()
            return await asyncio.to_thread(rewritten, self.bundle, every) if every.users else ""

    async def pending(self) -> int:
        """Return the number of deletions since the bundle on disk.

        Raises:
            BundleError: it can't be read.
            StoreUnavailable: the store can't be read.
        """
        mark = TrainedUpTo.of(await asyncio.to_thread(read_facts, self.bundle))
        return len(mark.pending(await self._store.erased()).users)

    async def _without_erased(self, state: State) -> State:
        """Return a state without the users that were deleted since its model was trained."""
        await go_on(self._store, state.mark)
        erasures = await self._store.erased(state.mark.erased.get(self._store.data, 0))
        self._removals = self._store.removals
        return await asyncio.to_thread(without_erased, state, erasures) if erasures.users else state

    async def check(self) -> None:
        """Check that the store keeps what is written, at most once a second.

        Raises:
            StoreUnavailable: it does not, or not at present.
        """
        async with self._checking:
            if time.monotonic() - self._checked > CHECK_SECONDS:
                await self._open()
                await self._store.check()
                self._checked = time.monotonic()

    async def check_index(self) -> None:
        """Check that the vector database answers, if there is one.

        Raises:
            IndexUnavailable: it does not.
        """
        index = self.state.recommender.index
        if index is not None and index.waits:
            await asyncio.to_thread(index.check)

    async def reload(self, *, queue: bool = False) -> tuple[State, State] | None:
        """Load the bundle again and serve it; return the earlier state and the new one.

        Args:
            queue: if a reload is under way, do it once more afterwards; None says that another one that waits
                does it.

        Raises:
            BundleError: the bundle can't be served; the earlier one goes on.
            ApiError: a reload is under way.
            StoreUnavailable: the items can't be read; the earlier bundle goes on.
        """
        if self._reloading.locked():
            if not queue:
                raise ApiError(409, "a reload is in progress; wait for it to finish")
            if self._queued:
                return None
            self._queued = True
            log.info("a reload is in progress; another one will follow")
        async with self._reloading:
            self._queued = False
            earlier, fresh = await self.take(await self._load())
        await self.forget()
        return earlier, fresh

    async def prepare(self, copy: Path) -> State:
        """Load a copy of the bundle, for `take`.

        Raises:
            BundleError: it can't be served.
        """
        before, self.copy = self.copy, copy
        try:
            return await self._load()
        except BaseException:
            self.copy = before
            raise

    async def take(self, fresh: State) -> tuple[State, State]:
        """Serve a state that was loaded; return the earlier one and this one.

        Raises:
            StoreUnavailable: the items can't be read; the earlier one is served on.
        """
        fresh = await self._without_erased(fresh)
        async with self._changing:  # an item that is put meanwhile is in the one or the other
            stored = await self._store.items_since(0)
            fresh = await asyncio.to_thread(with_stored, fresh, stored)
            earlier, self.state = self.state, fresh
            self._applied = max([0, *(item.version for item in stored)])
            self._generation = self._store.generation
        log.info("reloaded", extra={"fields": {"previous": earlier.version, **fresh.info()}})
        return earlier, fresh

    async def refresh(self) -> None:
        """Apply the changes of items since the last time, also those of other servers.

        Raises:
            StoreUnavailable: they can't be read.
        """
        async with self._changing:
            await self._take_up()

    async def change(self, item: StoredItem) -> None:
        """Store a change of an item, and apply it.

        Raises:
            StoreUnavailable: it could not be kept.
        """
        async with self._changing:
            await self._store.put_item(item)
            await self._take_up()

    async def poll(self) -> None:
        """Apply other servers' changes, once a second, until cancelled."""

        async def look() -> None:
            await self._open()
            await self.refresh()

        await repeat(look, POLL_SECONDS, "changes of items can't be applied")

    async def _load(self) -> State:
        """Load the bundle in a daemon thread, which does not stop the process from ending if it hangs."""
        if self._stuck is not None and self._stuck.is_alive():
            raise BundleError(
                f"bundle {self.bundle} can't be read: an earlier attempt still waits for its files; check "
                "the drive that it is on"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[State] = loop.create_future()

        def work() -> None:
            try:
                found = load(self.copy or self.bundle, self._index, mapped=self.copy is not None)
            except BaseException as error:
                failed = error if isinstance(error, Exception) else RuntimeError(str(error))
                with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who asked
                    loop.call_soon_threadsafe(_settle, done, None, failed)
            else:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_settle, done, found, None)

        thread = threading.Thread(target=work, name="load bundle", daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(self._load_seconds):
                return await done
        except TimeoutError:
            self._stuck = thread
            raise BundleError(
                f"bundle {self.bundle} can't be read within {self._load_seconds:g} s; check the drive that "
                "it is on, or raise the limit load_seconds"
            ) from None

    async def _take_up(self) -> None:
        stored = await self._store.items_since(self._applied)
        while self._store.generation != self._generation:
            # what is served was made from what the store no longer holds
            generation = self._store.generation
            stored = await self._store.items_since(0)
            if self._store.generation != generation:
                continue
            if self._generation:
                log.warning(
                    "the event store holds other data than before (emptied, replaced or an older copy); "
                    "items and events are read again",
                    extra={"fields": {"generation": generation, "items": len(stored)}},
                )
            bare = self.state.with_items(Catalogue(self.state.items.trained))
            self.state = await asyncio.to_thread(with_stored, bare, stored)
            self._applied, self._generation = max([0, *(item.version for item in stored)]), generation
            self.state = await self._without_erased(self.state)
            return
        if stored:
            self.state = await asyncio.to_thread(with_stored, self.state, stored)
            self._applied = stored[-1].version
        if self._store.removals != self._removals:  # another server's, which rewrites the bundle
            self.state = await self._without_erased(self.state)


def _settle(done: asyncio.Future[State], state: State | None, error: Exception | None) -> None:
    if done.done():  # nobody waits any more
        return
    if state is None:
        done.set_exception(error or RuntimeError("nothing was loaded"))
    else:
        done.set_result(state)


def load(bundle: Path, index: str | None = None, *, mapped: bool = False) -> State:
    """Load a bundle and make the first answers, so that no client waits for compilation.

    Args:
        bundle: its directory.
        index: address of the vector database to search in; None for the index in the bundle, if any.
        mapped: whether it is mapped into memory; it must never change then.

    Raises:
        BundleError: it can't be served.
        IndexUnavailable: the vector database does not answer.
    """
    given = True if index is None else index
    recommender, manifest = read_bundle(bundle, Recommender, index=given, mapped=mapped)
    try:
        state = State.of(recommender, manifest["hash"][:12], TrainedUpTo.of(manifest))
        warm_up(state)
    except (TwoTowerError, ArithmeticError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise BundleError(f"bundle {bundle} can't be served: {error}") from error
    return state


def with_stored(state: State, stored: list[StoredItem]) -> State:
    """Return the state with changes of items from the store.

    An item that the model has been trained with since it was put is served as trained, for interactions say
    more than features. One that this model can't read (its columns are others) is left out, and said.
    """
    put, gone, back = [], [], []
    for item in stored:
        name = state.items.trained.ids.native(item.key)
        row = state.items.trained.ids.index.get(name)
        if item.columns is None:
            gone.append(name)
        elif row is not None and state.recommender.items.warm[row]:
            back.append(name)
        else:
            try:
                put.append(live_item(state, name, orjson.loads(item.columns)))
            except ApiError as error:
                log.warning(
                    "an item of the store can't be served by this model",
                    extra={"fields": {"item": item.key, "reason": error.message}},
                )
    return state.with_items(state.items.changed(put, gone, back))


def live_item(state: State, name: Id, columns: dict[str, Any], unknown: Unknown | None = None) -> LiveItem:
    """Return an item from its columns: features, and what is displayed.

    Values of features that the model doesn't know are added to ``unknown``.

    Raises:
        ApiError: a column is unknown, or a value is of the wrong kind.
    """
    recommender, types = state.recommender, state.items.trained.types
    schema = recommender.encoder.schema
    known = dict.fromkeys([*schema.items, *types, *([schema.duration] if schema.duration else [])])
    for column in columns:
        if column not in known:
            raise ApiError(
                422,
                f"an item has the columns {', '.join(known)}; got {column!r}.{nearest(column, known)}",
                f"columns.{column}",
            )
    features = {key: value for key, value in columns.items() if key in schema.items}
    arrays = encoded_features(
        recommender, "items", [features], ["columns"], {} if unknown is None else unknown
    )
    try:
        (vector,) = recommender.towers.vectors(arrays, "items")
    except TwoTowerError as error:
        raise ApiError(422, str(error), "columns") from None
    display = {}
    for column, dtype in types.items():
        value = columns.get(column)
        try:
            (display[column],) = pl.Series([value], dtype=dtype, strict=True).to_list()
        except (ValueError, TypeError, OverflowError, pl.exceptions.PolarsError):
            raise ApiError(
                422, f"{column!r} is displayed as {dtype}; got another kind of value", f"columns.{column}"
            ) from None
    duration = columns.get(schema.duration) if schema.duration else None
    try:
        seconds = float("nan") if duration is None else float(duration)
    except (ValueError, TypeError, OverflowError):
        raise ApiError(422, "a duration is a number", f"columns.{schema.duration}") from None
    return LiveItem(name, display, vector, arrays, seconds)
