"""Retention: events are removed from the store once they are old."""

from __future__ import annotations

import logging
import time

from twotower.server.store import EventStore

log = logging.getLogger("twotower.server")

EVERY_SECONDS = 600.0
"""How often old events are looked for."""


async def expire(store: EventStore, keep: float) -> int:
    """Remove what is older than ``keep`` seconds, and return how many events that were."""
    gone = await store.expire(time.time() - keep)
    if gone:
        log.info("old events removed", extra={"fields": {"events": gone}})
    return gone
