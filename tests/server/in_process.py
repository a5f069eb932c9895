"""Transports of httpx to an application that Starlette's TestClient has started, in its own loop."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.testclient import TestClient


async def raw_bytes(answer: httpx.Response) -> bytes:
    """Return a body as it was sent, compressed or not."""
    return b"".join([part async for part in answer.aiter_raw()])


class InProcess(httpx.BaseTransport):
    """Asks the application without a socket, and keeps the last answer as it came."""

    def __init__(self, started: TestClient) -> None:
        self._portal, self.last = started.portal, httpx.Response(200)
        self.inside = httpx.ASGITransport(started.app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> tuple[int, Any, bytes]:
            answer = await self.inside.handle_async_request(request)
            return answer.status_code, answer.headers.raw, await raw_bytes(answer)

        assert self._portal is not None
        status, headers, content = self._portal.call(ask)
        self.last = httpx.Response(status, headers=headers, content=content)
        return self.last


class AsyncInProcess(httpx.AsyncBaseTransport):
    """The same, for whoever runs in the application's loop."""

    def __init__(self, started: TestClient) -> None:
        self.inside, self.last = InProcess(started).inside, httpx.Response(200)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inside.handle_async_request(request)
        content = await raw_bytes(answer)
        self.last = httpx.Response(answer.status_code, headers=answer.headers.raw, content=content)
        return self.last
