"""What `SqliteStore` does in a transaction: its tables, and the work of the writing thread."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twotower.core.erasure import keyed, new_key
from twotower.server.store import records_table
from twotower.server.store.events import (
    Event,
    EventConflict,
    Record,
    StoredItem,
    StoreUnavailable,
    new_generation,
)

VERSION = 3
"""Version of the tables; a file of a newer one is refused, an older one is brought up to it."""
APPLICATION = 0x74776F74  # "twot", the file's application id
_IDS_AT_ONCE = 500  # values of one query

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
# What version 2 adds: the store's name, and counters, so that a number is never given twice.
_COUNTERS = """
create table counters (name text primary key, value not null);
insert into counters select 'place', coalesce(max(place), 0) from events;
insert into counters select 'version', coalesce(max(version), 0) from items;
insert into counters values ('checked', 0);
"""
# What version 3 adds: users that were deleted, by a keyed hash of their id.
_ERASED = """
create table erased (
    number integer primary key,
    digest text not null,
    place integer not null,
    events integer not null,
    time real not null
);
insert into counters values ('removals', 0);
"""


@dataclass(frozen=True, slots=True)
class Work:
    """Work of the writing thread, and the future that waits for it.

    Attributes:
        what: events, an item or records to keep, a check, a user to forget, a time before which events
            expire, or the numbers to go on from.
        given: what belongs to it.
        done, loop: whom to answer.
    """

    what: Literal["events", "item", "records", "check", "forget", "expire", "go on"]
    given: Sequence[Event] | Sequence[Record] | StoredItem | str | float | tuple[int, int] | None
    done: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop


Answer = int | StoreUnavailable | EventConflict


def bring_up(connection: sqlite3.Connection) -> None:
    """Create or migrate the tables in one transaction, so that a kill leaves the old or the new ones."""
    connection.execute("begin immediate")
    try:
        (version,) = connection.execute("pragma user_version").fetchone()
        (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
        if version < VERSION:  # else another server has done it meanwhile
            script = ("" if tables else _TABLES) + (_COUNTERS if version < 2 else "") + _ERASED
            for statement in script.split(";"):
                connection.execute(statement)
            if version < 2:
                connection.execute("insert into counters values ('generation', ?)", (new_generation(),))
            connection.execute("insert into counters values ('key', ?)", (new_key(),))
            connection.execute(f"pragma application_id = {APPLICATION}")
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def apply(connection: sqlite3.Connection, work: Work) -> Answer:
    """Do one piece of work within a transaction, and return its answer."""
    return _DOES[work.what](connection, work.given)


def _check(connection: sqlite3.Connection, given: None) -> int:
    return _count(connection, "checked", 1)


def _put(connection: sqlite3.Connection, item: StoredItem) -> int:
    version = _count(connection, "version", 1)
    connection.execute("delete from items where key = ?", (item.key,))
    connection.execute("insert into items values (?, ?, ?)", (version, item.key, item.columns))
    return 1


def _keep(connection: sqlite3.Connection, events: Sequence[Event]) -> Answer:
    """Keep events that are not known yet."""
    fresh = {event.id: event for event in events}
    ids = list(fresh)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        marks = ",".join("?" * len(some))
        for name, *content in connection.execute(
            f"select id, user, item, kind, value from events where id in ({marks})", some
        ).fetchall():
            if fresh.pop(name).content != tuple(content):
                return EventConflict(name)
    if fresh:
        last = _count(connection, "place", len(fresh))
        connection.executemany(
            "insert into events values (?, ?, ?, ?, ?, ?, ?)",
            (
                (place, e.id, e.user, e.item, e.kind, e.value, e.time)
                for place, e in enumerate(fresh.values(), last - len(fresh) + 1)
            ),
        )
    return len(fresh)


def _forget(connection: sqlite3.Connection, user: str) -> int:
    """Delete a user's events, note that, and return how many there were."""
    values = dict(connection.execute("select name, value from counters where name in ('place', 'key')"))
    gone = connection.execute("delete from events where user = ?", (user,)).rowcount
    records_table.forget(connection, user)
    connection.execute(
        "insert into erased (digest, place, events, time) values (?, ?, ?, ?)",
        (keyed(str(values["key"]), user), int(values["place"]), gone, time.time()),
    )
    _count(connection, "removals", 1)
    return gone


def _expire(connection: sqlite3.Connection, before: float) -> int:
    """Delete the events of a time before this one, and return how many there were."""
    gone = connection.execute("delete from events where time < ?", (before,)).rowcount
    if gone:
        _count(connection, "removals", 1)
    return gone


def _go_on(connection: sqlite3.Connection, numbers: tuple[int, int]) -> int:
    """Skip numbers: a record of nobody takes the last deletion's."""
    place, deletion = numbers
    connection.execute("update counters set value = max(value, ?) where name = 'place'", (place,))
    return connection.execute(
        "insert into erased select ?, '', 0, 0, 0 where ? > (select coalesce(max(number), 0) from erased)",
        (deletion, deletion),
    ).rowcount


def scrub(connection: sqlite3.Connection) -> None:
    """Leave nothing of deleted rows in the file and its log.

    Raises:
        StoreUnavailable: another process reads the log all the time.
    """
    connection.execute("vacuum")
    busy, *_ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    if busy:
        raise StoreUnavailable("the user was deleted, and the log of the event store is in use; ask again")


def _count(connection: sqlite3.Connection, name: str, by: int) -> int:
    """Increase a counter, and return it; it never decreases, also if rows are deleted."""
    most = {"place": "select max(place) from events", "version": "select max(version) from items"}
    highest = f"max(value, coalesce(({most[name]}), 0))" if name in most else "value"
    connection.execute(f"update counters set value = {highest} + ? where name = ?", (by, name))
    (found,) = connection.execute("select value from counters where name = ?", (name,)).fetchone()
    return int(found)


_DOES: dict[str, Callable[[sqlite3.Connection, Any], Answer]] = {
    "events": _keep,
    "item": _put,
    "records": records_table.keep,
    "check": _check,
    "forget": _forget,
    "expire": _expire,
    "go on": _go_on,
}
