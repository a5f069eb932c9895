"""`Shadow`: a model that is asked what other models were asked, logged, and never answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from twotower.server import ranking
from twotower.server.errors import ApiError
from twotower.server.metrics import Metrics
from twotower.server.models import Model
from twotower.server.queries import with_past
from twotower.server.request_models import RecommendBody
from twotower.server.settings import Limits
from twotower.server.store import StoreUnavailable
from twotower.server.user_events import UserEvents
from twotower.server.wanted import Wanted, wanted
from twotower.server.workers import Deadline

log = logging.getLogger("twotower.server")

WAITING = 256
"""Lists that wait; further ones are dropped and counted."""
_IDLE_SECONDS = 0.002
"""How long to wait before looking again whether no request is in progress."""


@dataclass(frozen=True, eq=False)
class ShadowRequest:
    """What was asked, and answered.

    Attributes:
        request_id: of the request.
        user: the query as it was given.
        body: the request's choice of items; None for that of the path.
        k: length of the list.
        exclude_seen: whether seen items are left out.
        answered: ids of the items that the answer had.
    """

    request_id: str
    user: Any
    body: RecommendBody | None
    k: int
    exclude_seen: bool
    answered: Sequence[Any]


class Shadow:
    """Asks a model in its own thread, when no request is in progress.

    An answer never waits for it: it is made before, and what is asked waits in a queue of `WAITING` lists,
    of which the new ones are dropped when it is full.
    """

    def __init__(self, model: Model, events: UserEvents, metrics: Metrics, limits: Limits) -> None:
        self.model, self._events, self._metrics, self._limits = model, events, metrics, limits
        self._queue: asyncio.Queue[ShadowRequest] = asyncio.Queue(WAITING)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    def offer(self, request: ShadowRequest) -> None:
        """Ask the same of the shadow, later; or drop it."""
        try:
            self._queue.put_nowait(request)
        except asyncio.QueueFull:
            self._metrics.shadow(self.model.run, "dropped")

    async def work(self, busy: Callable[[], bool]) -> None:
        """Ask what waits, until cancelled.

        Args:
            busy: a function that says whether requests are in progress.
        """
        try:
            while True:
                request = await self._queue.get()
                while busy():
                    await asyncio.sleep(_IDLE_SECONDS)
                try:
                    await self._ask(request)
                except (ApiError, StoreUnavailable) as error:
                    self._failed(request, str(error))
                except Exception as error:  # whatever it is, others are asked on
                    self._failed(request, repr(error))
                finally:
                    self._queue.task_done()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def idle(self) -> None:
        """Wait until nothing waits or is being asked."""
        await self._queue.join()

    async def _ask(self, request: ShadowRequest) -> None:
        state, deadline = self.model.state, Deadline(self._limits.work_seconds)
        asked = await with_past(state, self._events, [("shadow", request.user)], self._limits)

        def work() -> tuple[list[Any], float]:
            start = time.perf_counter()
            body = request.body
            want = Wanted(request.k, request.exclude_seen)
            if body is not None:
                want = replace(wanted(state, body, self._limits, request.exclude_seen), explain=0)
            ((one, _),) = ranking.lists(state, asked, want, deadline)
            return [item["item_id"] for item in one["items"]], time.perf_counter() - start

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._limits.work_seconds):
            items, seconds = await loop.run_in_executor(self._pool, work)
        same = len(set(map(str, items)) & set(map(str, request.answered)))
        of = max(len(items), len(request.answered))
        self._metrics.shadow(self.model.run, "answered", seconds, same / of if of else 1.0)
        log.info(
            "shadow",
            extra={
                "fields": {
                    "request_id": request.request_id,
                    "run": self.model.run,
                    "model": state.version,
                    "user_id": asked[0].name,
                    "items": items,
                    "same": same,
                    "ms": round(seconds * 1e3, 3),
                }
            },
        )

    def _failed(self, request: ShadowRequest, reason: str) -> None:
        self._metrics.shadow(self.model.run, "failed")
        fields = {"request_id": request.request_id, "run": self.model.run, "reason": reason}
        log.warning("shadow failed", extra={"fields": fields})
