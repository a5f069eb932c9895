"""The event store of a server, for commands that read or change it while no server runs in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from twotower.core.erasure import Erasures
from twotower.errors import ConfigError
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.server.store import EventStore, StoreUnavailable, make_store
from twotower.server.store.older_copy import go_on

_HEAD: Final = b"SQLite format 3\x00"


def store_at(address: str) -> EventStore:
    """Return the store at an address, not yet opened; unlike `make_store` never a new file.

    Raises:
        ConfigError: there is no store.
    """
    if "://" not in address:
        path = Path(address).expanduser()
        if not path.is_file():
            raise ConfigError(f"there is no event store {path}; name the --store of `twotower serve`")
    return make_store(address)


def is_store(address: str) -> bool:
    """Return whether an address is that of a store, not of a table: a SQLite file, or ``redis://``."""
    if "://" in address:
        return address.partition("://")[0].startswith(("redis", "unix"))
    try:
        with Path(address).expanduser().open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD
    except OSError:
        return False


@asynccontextmanager
async def opened(store: EventStore) -> AsyncIterator[None]:
    """Open a store, and close it at the end.

    Raises:
        ConfigError: there is no store, one of a newer version, or one that does not respond.
    """
    try:
        await store.open()
        try:
            yield
        finally:
            await store.close()
    except StoreUnavailable as error:
        raise ConfigError(f"the store must respond; {error}") from None


async def forgotten(store: EventStore, user: str, mark: TrainedUpTo) -> tuple[int, Erasures]:
    """Delete a user from a store, and return the number of events and the records of all deleted users.

    Args:
        store: opened here, and closed.
        user: key of the user.
        mark: of the run; the number of the deletion is above those that it has.

    Raises:
        ConfigError: the store does not respond.
    """
    async with opened(store):
        await go_on(store, mark)
        return await store.forget(user), await store.erased()
