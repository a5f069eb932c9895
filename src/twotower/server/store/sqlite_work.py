"""`Work` of the thread that writes to a SQLite file, and what it does to the tables."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from twotower.server.store import records_table
from twotower.server.store.events import Event, EventConflict, Record, StoredItem, StoreUnavailable

_IDS_AT_ONCE = 500  # values of one query


@dataclass(frozen=True, slots=True)
class Work:
    """Work of the writing thread: events, one item, records or a check; and the future that waits for it."""

    what: Literal["events", "item", "records", "check"]
    events: Sequence[Event]
    item: StoredItem | None
    done: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop
    records: Sequence[Record] = ()


Answer = int | StoreUnavailable | EventConflict


def apply(connection: sqlite3.Connection, work: Work) -> Answer:
    """Do it, within a transaction, and return its answer; see `EventStore`."""
    if work.what == "check":
        return count(connection, "checked", 1)
    if work.what == "records":
        return records_table.keep(connection, work.records)
    if work.item is not None:
        version = count(connection, "version", 1)
        connection.execute("delete from items where key = ?", (work.item.key,))
        connection.execute("insert into items values (?, ?, ?)", (version, work.item.key, work.item.columns))
        return 1
    fresh = {event.id: event for event in work.events}
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
        last = count(connection, "place", len(fresh))
        connection.executemany(
            "insert into events values (?, ?, ?, ?, ?, ?, ?)",
            (
                (place, e.id, e.user, e.item, e.kind, e.value, e.time)
                for place, e in enumerate(fresh.values(), last - len(fresh) + 1)
            ),
        )
    return len(fresh)


def count(connection: sqlite3.Connection, name: str, by: int) -> int:
    """Increase a counter, and return it; it never decreases, also if rows are deleted."""
    most = {"place": "select max(place) from events", "version": "select max(version) from items"}
    highest = f"max(value, coalesce(({most[name]}), 0))" if name in most else "value"
    connection.execute(f"update counters set value = {highest} + ? where name = ?", (by, name))
    (found,) = connection.execute("select value from counters where name = ?", (name,)).fetchone()
    return int(found)
