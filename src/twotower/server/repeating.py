"""`repeat`: work that a server does again and again, whatever happens to its event store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from twotower.server.store import StoreUnavailable

log = logging.getLogger("twotower.server")

POLL_SECONDS: Final = 1.0
"""How often other servers' changes are looked for."""


async def repeat(work: Callable[[], Awaitable[object]], seconds: float, failed: str) -> None:
    """Do some work, pause, and begin again, until cancelled. No error ends it.

    Args:
        work: if the store does not respond to it, nothing is logged: requests that need the store say so.
        seconds: length of the pause.
        failed: what the log says of any other error.
    """
    while True:
        try:
            with contextlib.suppress(StoreUnavailable):
                await work()
        except Exception as error:
            log.error(failed, exc_info=error)
        await asyncio.sleep(seconds)
