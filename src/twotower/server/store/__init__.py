"""Where events and new items are kept: a SQLite file by default, or Redis for several servers."""

from __future__ import annotations

from pathlib import Path

from twotower.core.erasure import Erased, Erasures
from twotower.errors import ConfigError
from twotower.server.store.events import (
    Event,
    EventConflict,
    EventStore,
    Placed,
    Record,
    StoredItem,
    StoreUnavailable,
)
from twotower.server.store.redis import RedisStore
from twotower.server.store.redis_address import FORMS, SCHEMES
from twotower.server.store.sqlite import SqliteStore

__all__ = [
    "Erased",
    "Erasures",
    "Event",
    "EventConflict",
    "EventStore",
    "Placed",
    "Record",
    "RedisStore",
    "SqliteStore",
    "StoreUnavailable",
    "StoredItem",
    "make_store",
]


def make_store(address: str) -> EventStore:
    """Return the store of an address, not yet opened: a file, or ``redis://...``.

    Raises:
        ConfigError: the address is of another kind, or its folder does not exist.
        MissingExtraError: it needs a library that is not installed.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme in SCHEMES:
        return RedisStore(address)
    if separator:
        raise ConfigError(f"--store must be a file or {FORMS}, got '{scheme}://...'")
    path = Path(address).expanduser()
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--store must be a file in a folder that exists, got '{path}'; create the folder")
    return SqliteStore(path)
