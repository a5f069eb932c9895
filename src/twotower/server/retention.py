"""Retention: events are removed from the store once they are old."""

from __future__ import annotations

import logging
import re
import time
from typing import Final

from twotower.errors import ConfigError
from twotower.server.store import EventStore

log = logging.getLogger("twotower.server")

EVERY_SECONDS = 600.0
"""How often old events are looked for."""
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])\Z")


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as ``90d``.

    Raises:
        ConfigError: it is not a duration, or it is 0.

    >>> seconds_of("90d"), seconds_of("12h")
    (7776000.0, 43200.0)
    """
    found = _DURATION.match(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(
            f"--keep must be a whole number above 0 and a unit ({', '.join(_UNITS)}), such as 90d, "
            f"got {text!r}"
        )
    return int(found[1]) * _UNITS[found[2]]


async def expire(store: EventStore, keep: float) -> int:
    """Remove what is older than ``keep`` seconds, and return how many events that were."""
    gone = await store.expire(time.time() - keep)
    if gone:
        log.info("old events removed", extra={"fields": {"events": gone}})
    return gone
