"""`Workers`: a few threads for slow work, a bounded queue, and a deadline for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from twotower.server.errors import ApiError
from twotower.server.settings import Limits

T = TypeVar("T")

THREADS = 2
"""Requests that are worked on at once: more would only wait for each other, and hold memory meanwhile."""


@dataclass(eq=False, slots=True)
class Deadline:
    """The deadline of a request. A thread can't be stopped from outside, so work calls `check`.

    Attributes:
        seconds: that it may take.
        at: when it ends, on the clock of `time.monotonic`.
    """

    seconds: float
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start again, once the body has arrived."""
        self.at = time.monotonic() + self.seconds

    def check(self) -> None:
        """Raise an error if the time is up.

        Raises:
            ApiError: the time is up.
        """
        if time.monotonic() > self.at:
            raise too_slow(self.seconds)


class Workers:
    """Runs work in threads, so that the event loop is not blocked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="work")
        self._pending = 0

    def deadline(self) -> Deadline:
        """Return the deadline of a request that begins now."""
        return Deadline(self._limits.work_seconds)

    async def run(self, deadline: Deadline, work: Callable[[], T]) -> T:
        """Run work in a thread, in order of arrival.

        Raises:
            ApiError: too many wait, or the time is up.
        """
        if self._pending >= THREADS + self._limits.waiting:
            raise ApiError(
                503, "too much work is waiting; try again in a moment", headers={"retry-after": "1"}
            )
        deadline.check()

        def timed() -> T:
            deadline.check()  # it may have waited
            return work()

        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(deadline.at - time.monotonic()):
                return await asyncio.shield(future)
        except TimeoutError:
            raise too_slow(deadline.seconds) from None

    def _done(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # looked at, also where nobody waits for it any more

    def close(self) -> None:
        """Start no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def too_slow(seconds: float) -> ApiError:
    """Return the error of work that took too long."""
    return ApiError(
        503,
        f"this took longer than {seconds:g} s and was stopped; request less at once",
        headers={"retry-after": "1"},
    )
