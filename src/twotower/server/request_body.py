"""Reading the body of a request: within limits of size and time, a large one in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from starlette.requests import ClientDisconnect

from twotower.server.bounds import Body, read
from twotower.server.errors import ApiError
from twotower.server.middleware import too_large
from twotower.server.service import Service
from twotower.server.settings import Limits
from twotower.server.workers import Deadline

SMALL = 32 << 10
"""Bytes of a body that is read at once: it takes less than a millisecond."""
BODIES = 16 << 20
"""Bytes of large bodies that are held at once; what is parsed of them takes several times as much."""


@dataclass(eq=False)
class Large:
    """The memory of one large body, counted among that of all."""

    service: Service
    size: int = 0

    def hold(self, size: int) -> None:
        """Set how many bytes of it are in memory.

        Raises:
            ApiError: there are too many of all requests together.
        """
        service, more = self.service, size - self.size
        if more > 0 and service.held + more > max(BODIES, service.limits.body_bytes):
            raise ApiError(
                503, "too many large bodies at once; try again in a moment", headers={"retry-after": "1"}
            )
        service.held += more
        self.size = size


@asynccontextmanager
async def body_of(
    request: Request, model: type[Body], service: Service, deadline: Deadline
) -> AsyncIterator[Body]:
    """Read and check a request's body, a large one in a thread, and count it as held until it is done with.

    Raises:
        ApiError: it is too large, comes too slowly, is not JSON or not as it must be.
    """
    large = Large(service)
    try:
        data = await _received(request, service.limits, large)
        deadline.start()
        work = partial(read, data, model, service.limits)
        del data
        yield work() if not large.size else await service.workers.run(deadline, work)
    finally:
        large.hold(0)


async def _received(request: Request, limits: Limits, large: Large) -> bytes:
    chunks, size = list[bytes](), 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body_bytes:
                    raise too_large(limits.body_bytes)
                if size > SMALL:
                    large.hold(size)
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError(408, f"the body must arrive within {limits.body_seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise ApiError(400, "the connection closed before the whole body arrived") from None
    return b"".join(chunks)
