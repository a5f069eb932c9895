"""The table of records in a SQLite file; made with the first one, so that older versions read other files."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from twotower.server.store.events import Record

EXISTS = "select 1 from sqlite_master where name = 'records'"
SELECT = "select kind, key, value, user from records where kind = ? order by key"
_TABLE = """
create table if not exists records (
    kind text not null, key text not null, user text not null, value text not null, primary key (kind, key)
) without rowid
"""


def forget(connection: sqlite3.Connection, user: str) -> None:
    """Delete the records of a user."""
    if connection.execute(EXISTS).fetchone():
        connection.execute("delete from records where user = ?", (user,))


def keep(connection: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Insert records, leave out those that are known, and return how many were given."""
    connection.execute(_TABLE)
    rows = ((one.kind, one.key, one.user, one.value) for one in records)
    connection.executemany("insert or ignore into records values (?, ?, ?, ?)", rows)
    return len(records)
