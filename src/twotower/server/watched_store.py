"""`watch`: time, errors and spans of the event store's operations."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from twotower.server.service import Service
from twotower.server.store import EventStore, StoreUnavailable

WATCHED = ("append", "events_of", "put_item", "items_since", "record", "records", "forget", "check")
"""Operations that are measured."""


def watch(store: EventStore, service: Service) -> None:
    """Measure the operations of a store, and make a span of each within a request's."""
    for name in WATCHED:
        setattr(store, name, _watched(name, getattr(store, name), service))


def _watched(
    name: str, operation: Callable[..., Awaitable[Any]], service: Service
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(operation)
    async def watched(*given: Any, **named: Any) -> Any:
        start, failed, tracing = time.perf_counter(), False, service.tracing
        try:
            with nullcontext() if tracing is None else tracing.span(f"store.{name}"):
                return await operation(*given, **named)
        except StoreUnavailable:
            failed = True
            raise
        finally:
            service.metrics.stored(name, time.perf_counter() - start, failed=failed)

    return watched
