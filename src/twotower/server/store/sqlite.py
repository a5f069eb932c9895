"""`SqliteStore`: events and items in one SQLite file, in WAL mode."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from twotower.errors import ConfigError
from twotower.server.store.events import Event, EventStore, Placed, StoredItem, StoreUnavailable

VERSION = 1
"""Version of the tables; a file of a newer one is refused."""
_APPLICATION = 0x74776F74  # "twot", the file's application id
_MOST_AT_ONCE = 20_000  # events of one transaction, so that nobody waits for a very long one

_TABLES = """
create table events (
    place integer primary key,
    id text not null unique,
    user text not null,
    item text not null,
    kind text not null,
    value real,
    time real not null
);
create index events_of_user on events (user, place);
create table items (
    version integer primary key,
    key text not null unique,
    columns text
);
"""


@dataclass(frozen=True, slots=True)
class _Work:
    """What the writer is asked: events or one item, and who waits for it."""

    events: Sequence[Event]
    item: StoredItem | None
    done: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop


class SqliteStore(EventStore):
    """One file on this machine.

    A thread of its own writes. What comes while it is writing waits and goes into one transaction together
    (group commit), so that many small requests share the cost of flushing to the disk. ``synchronous=full``:
    a commit has reached the disk before it is answered, so that even a power cut loses nothing answered.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(self, path: Path, *, busy_seconds: float = 5.0) -> None:
        self._path, self._busy = path, busy_seconds
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, or make it; see `EventStore.open`."""
        try:
            write = self._prepare()
            self._reader = self._connect()
        except sqlite3.Error as error:
            raise ConfigError(
                f"--store must be a SQLite file that twotower made, or a new one; {self._path}: {error}. "
                "Name another file, or mend its permissions."
            ) from None
        self._writer = threading.Thread(target=self._write, args=(write,), name="event store", daemon=True)
        self._writer.start()

    async def append(self, events: Sequence[Event]) -> int:
        """Keep events; see `EventStore.append`."""
        return await self._ask(events, None)

    async def events_of(self, user: str, after: int = 0) -> list[Placed]:
        """Return a user's events; see `EventStore.events_of`.

        A lookup by index costs some ten microseconds, less than handing it to a thread would.
        """
        rows = self._read(
            "select place, id, user, item, kind, value, time from events "
            "where user = ? and place > ? order by place",
            (user, after),
        )
        return [Placed(row[0], Event(*row[1:])) for row in rows]

    async def put_item(self, item: StoredItem) -> None:
        """Keep an item; see `EventStore.put_item`."""
        await self._ask((), item)

    async def items_since(self, version: int = 0) -> list[StoredItem]:
        """Return changed items; see `EventStore.items_since`."""
        rows = self._read(
            "select key, columns, version from items where version > ? order by version", (version,)
        )
        return [StoredItem(*row) for row in rows]

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            self._work.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy, isolation_level=None, check_same_thread=False
        )
        connection.execute("pragma synchronous = full")
        return connection

    def _prepare(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            (application,) = connection.execute("pragma application_id").fetchone()
            (version,) = connection.execute("pragma user_version").fetchone()
            (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
            if tables and application != _APPLICATION:
                raise ConfigError(
                    f"--store must be a SQLite file that twotower made, or a new one; {self._path} holds "
                    "another program's tables. Name another file."
                )
            if version > VERSION:
                raise ConfigError(
                    f"--store {self._path} has version {version}, this twotower reads up to {VERSION}; "
                    "upgrade twotower"
                )
            connection.execute("pragma journal_mode = wal")
            if not tables:
                # One transaction: a server killed here leaves a whole store or an empty file.
                connection.executescript(
                    f"begin immediate; {_TABLES} pragma application_id = {_APPLICATION};"
                    f"pragma user_version = {VERSION}; commit;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        if self._reader is None:
            raise StoreUnavailable("the event store is closed")
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the event store can't be read: {error}") from None

    async def _ask(self, events: Sequence[Event], item: StoredItem | None) -> int:
        if self._writer is None or not self._writer.is_alive():
            raise StoreUnavailable("the event store is closed")
        loop = asyncio.get_running_loop()
        work = _Work(events, item, loop.create_future(), loop)
        self._work.put(work)
        return await work.done

    def _write(self, connection: sqlite3.Connection) -> None:
        """Do what is asked until None is; the body of the writing thread."""
        going = True
        while going:
            batch: list[_Work] = []
            size = 0
            following = self._work.get()
            while following is not None:
                batch.append(following)
                size += len(following.events) + 1
                if size >= _MOST_AT_ONCE:
                    break
                try:
                    following = self._work.get_nowait()
                except queue.Empty:
                    break
            else:
                going = False
            if batch:
                self._commit(connection, batch)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[_Work]) -> None:
        try:
            connection.execute("begin immediate")
            counts = [_apply(connection, work) for work in batch]
            connection.execute("commit")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("rollback")
            reason = StoreUnavailable(f"the event store can't be written: {error}")
            _settle(batch, [reason] * len(batch))
        else:
            _settle(batch, counts)


def _apply(connection: sqlite3.Connection, work: _Work) -> int:
    if work.item is not None:
        # Deleting first gives the item a new number, so that the version rises.
        (last,) = connection.execute("select coalesce(max(version), 0) from items").fetchone()
        connection.execute("delete from items where key = ?", (work.item.key,))
        connection.execute("insert into items values (?, ?, ?)", (last + 1, work.item.key, work.item.columns))
        return 1
    if not work.events:
        return 0
    return connection.executemany(
        "insert or ignore into events (id, user, item, kind, value, time) values (?, ?, ?, ?, ?, ?)",
        ((e.id, e.user, e.item, e.kind, e.value, e.time) for e in work.events),
    ).rowcount


def _settle(batch: Sequence[_Work], answers: Sequence[int | StoreUnavailable]) -> None:
    """Answer all that waited, each in its event loop."""
    for work, answer in zip(batch, answers, strict=True):
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who asked
            work.loop.call_soon_threadsafe(_answer, work.done, answer)


def _answer(done: asyncio.Future[int], answer: int | StoreUnavailable) -> None:
    if done.cancelled():
        return
    if isinstance(answer, StoreUnavailable):
        done.set_exception(answer)
    else:
        done.set_result(answer)
