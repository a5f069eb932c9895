"""`SqliteStore`: events and items in one SQLite file, in WAL mode."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twotower.core.erasure import Erased, Erasures
from twotower.errors import ConfigError
from twotower.server.store import records_table
from twotower.server.store.events import (
    Event,
    EventStore,
    Placed,
    Record,
    StoredItem,
    StoreUnavailable,
    distinct,
)
from twotower.server.store.sqlite_work import APPLICATION, VERSION, Answer, Work, apply, bring_up, scrub

_READ_AT_ONCE = 500  # events of one user
_EXPORTED_AT_ONCE = 20_000  # events of all
_MOST_AT_ONCE = 20_000  # events of one transaction, so that nobody waits for a very long one


class SqliteStore(EventStore):
    """One file on this machine.

    A thread of its own writes. What comes while it is writing waits and goes into one transaction together
    (group commit), so that many small requests share the cost of flushing to the disk. ``synchronous=full``:
    a commit has reached the disk before it is answered, so that even a power cut loses nothing answered.

    What is written to a file that was removed or replaced while it is open would be lost. So each answer
    checks that the path still leads to the file: one that is gone makes the store unavailable until it is
    back, and another one in its place is opened.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(self, path: Path, *, busy_seconds: float = 5.0) -> None:
        super().__init__()
        self._path, self._busy = path, busy_seconds
        self._wal_file: Path | None = path.with_name(f"{path.name}-wal")
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None  # the file that the reader has open

    async def open(self) -> None:
        """Open or create the file; see `EventStore.open`."""
        if self._writer is not None:
            return
        try:
            self._prepare(make=True).close()
            self._open_reader()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"--store must be a SQLite file that twotower made, or a new one; {self._path}: {error}. "
                "Name another file, or fix its permissions."
            ) from None
        self._writer = threading.Thread(target=self._write, name="event store", daemon=True)
        self._writer.start()

    async def append(self, events: Sequence[Event]) -> int:
        """Store events; see `EventStore.append`."""
        return await self._ask("events", distinct(events))

    async def events_of(self, user: str, after: int = 0) -> list[Placed]:
        """Return a user's events; see `EventStore.events_of`.

        A lookup by index costs some ten microseconds, less than handing it to a thread would.
        """
        found: list[Placed] = []
        ((self.removals,),) = self._read("select value from counters where name = 'removals'", ())
        while True:
            rows = self._read(
                "select place, id, user, item, kind, value, time from events "
                "where user = ? and place > ? order by place limit ?",
                (user, after, _READ_AT_ONCE),
            )
            found += [Placed(row[0], Event(*row[1:])) for row in rows]
            if len(rows) < _READ_AT_ONCE:
                return found
            after = rows[-1][0]
            await asyncio.sleep(0)  # others get their turn

    async def last(self) -> int:
        """Return the last place; see `EventStore.last`."""
        ((place,),) = self._read(
            "select max(value, coalesce((select max(place) from events), 0)) from counters "
            "where name = 'place'",
            (),
        )
        return int(place)

    async def between(self, after: int, last: int) -> AsyncIterator[list[Placed]]:
        """Yield events by place; see `EventStore.between`."""
        while rows := self._read(
            "select place, id, user, item, kind, value, time from events "
            "where place > ? and place <= ? order by place limit ?",
            (after, last, _EXPORTED_AT_ONCE),
        ):
            yield [Placed(row[0], Event(*row[1:])) for row in rows]
            after = rows[-1][0]

    async def put_item(self, item: StoredItem) -> None:
        """Store an item; see `EventStore.put_item`."""
        await self._ask("item", item)

    async def items_since(self, version: int = 0) -> list[StoredItem]:
        """Return changed items; see `EventStore.items_since`."""
        rows = self._read(
            "select key, columns, version from items where version > ? order by version", (version,)
        )
        counters = dict(
            self._read("select name, value from counters where name in ('place', 'version', 'removals')", ())
        )
        self._counted(counters["version"], counters["place"])
        self.removals = counters["removals"]
        return [StoredItem(*row) for row in rows]

    async def forget(self, user: str) -> int:
        """Delete a user's events; see `EventStore.forget`."""
        return await self._ask("forget", user)

    async def expire(self, before: float) -> int:
        """Delete old events; see `EventStore.expire`."""
        return await self._ask("expire", before)

    async def erased(self, after: int = 0) -> Erasures:
        """Return deleted users; see `EventStore.erased`."""
        rows = self._read(
            "select number, digest, place, events, time from erased where number > ? order by number",
            (after,),
        )
        ((key,),) = self._read("select value from counters where name = 'key'", ())
        return Erasures(key, [Erased(*row) for row in rows], self.data)

    async def go_on_from(self, place: int, deletion: int) -> None:
        """Skip numbers; see `EventStore.go_on_from`."""
        await self._ask("go on", (place, deletion))

    async def record(self, records: Sequence[Record]) -> None:
        """Keep records; see `EventStore.record`."""
        await self._ask("records", records)

    async def records(self, kind: str) -> list[Record]:
        """Return records; see `EventStore.records`."""
        there = self._read(records_table.EXISTS, ())
        return [Record(*row) for row in self._read(records_table.SELECT, (kind,))] if there else []

    async def check(self) -> None:
        """Write and read; see `EventStore.check`."""
        written = await self._ask("check", None)
        ((found,),) = self._read("select value from counters where name = 'checked'", ())
        if found < written:
            raise StoreUnavailable("the event store does not keep what is written to it")

    async def close(self) -> None:
        """Write pending work, and close the file."""
        if self._writer is not None:
            self._work.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",  # never makes a file: that is done in one place
            uri=True,
            timeout=self._busy,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = on")
        return connection

    def _prepare(self, *, make: bool = False) -> sqlite3.Connection:
        """Return a connection to the file, with its tables created or migrated to this version."""
        if make and not self._path.exists():
            self._path.touch()
        os.stat(self._path)  # says more of what is not there than SQLite does
        connection = self._connect()
        try:
            (application,) = connection.execute("pragma application_id").fetchone()
            (version,) = connection.execute("pragma user_version").fetchone()
            (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
            if tables and application != APPLICATION:
                raise ConfigError(
                    f"--store must be a SQLite file that twotower made, or a new one; {self._path} holds "
                    "another program's tables. Name another file."
                )
            if version > VERSION:
                raise ConfigError(
                    f"--store {self._path} has version {version}, this twotower reads up to {VERSION}; "
                    "upgrade twotower"
                )
            if not tables and not make:
                raise sqlite3.OperationalError("it is an empty file, which was not there at the start")
            (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
            if mode != "wal":  # a file system that can't
                self._wal_file = None
            if version < VERSION:
                bring_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> None:
        self._file = os.stat(self._path)
        self._reader = self._connect()
        self._called(
            self._reader.execute("select value from counters where name = 'generation'").fetchone()[0]
        )

    def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        if self._writer is None:
            raise StoreUnavailable("the event store is closed")
        try:
            if self._reader is None or not _leads_to(self._path, self._file):
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                self._prepare().close()
                self._open_reader()
            assert self._reader is not None
            return self._reader.execute(query, values).fetchall()
        except (sqlite3.Error, OSError, ConfigError) as error:
            raise StoreUnavailable(f"the event store {self._path} can't be read: {error}") from None

    async def _ask(self, what: Any, given: Any) -> int:
        if self._writer is None:
            raise StoreUnavailable("the event store is closed")
        loop = asyncio.get_running_loop()
        work = Work(what, given, loop.create_future(), loop)
        self._work.put(work)
        return await work.done

    def _write(self) -> None:
        """Do work until None is received; the body of the writing thread."""
        opened: tuple[sqlite3.Connection, os.stat_result] | None = None
        going = True
        while going:
            batch, going = self._next()
            if not batch:
                continue
            try:
                if opened is not None and not _leads_to(self._path, opened[1]):
                    opened[0].close()
                    opened = None
                if opened is None:
                    file = os.stat(self._path)
                    opened = self._prepare(), file
                answers = self._commit(opened[0], batch)
                if any(work.what == "forget" for work in batch):
                    scrub(opened[0])
                if not (_leads_to(self._path, opened[1]) and _leads_to(self._wal_file or self._path)):
                    raise OSError("the file was removed while it was written")
            except Exception as error:
                if opened is not None:
                    opened[0].close()
                    opened = None
                reason = StoreUnavailable(f"the event store {self._path} can't be written: {error}")
                _settle(batch, [reason] * len(batch))
            else:
                _settle(batch, answers)
        if opened is not None:
            opened[0].close()

    def _next(self) -> tuple[list[Work], bool]:
        """Wait for work; return all that is pending, up to a limit, and whether more may come."""
        batch: list[Work] = []
        size = 0
        following = self._work.get()
        while following is not None:
            batch.append(following)
            size += 1 + (len(following.given) if isinstance(following.given, Sequence) else 0)
            if size >= _MOST_AT_ONCE:
                return batch, True
            try:
                following = self._work.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, connection: sqlite3.Connection, batch: list[Work]) -> list[Answer]:
        try:
            connection.execute("begin immediate")
            answers = [apply(connection, work) for work in batch]
            connection.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("rollback")
            raise
        return answers


def _leads_to(path: Path, file: os.stat_result | None = None) -> bool:
    """Return whether a path is a file: this one if it is given."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return file is None or os.path.samestat(found, file)


def _settle(batch: Sequence[Work], answers: Sequence[Answer]) -> None:
    """Set the results of all futures, each in its event loop."""
    for work, answer in zip(batch, answers, strict=True):
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who asked
            work.loop.call_soon_threadsafe(_answer, work.done, answer)


def _answer(done: asyncio.Future[int], answer: Answer) -> None:
    if done.cancelled():
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
