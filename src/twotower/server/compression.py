"""Compressed answers, for clients that accept gzip."""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 1_000
"""Bytes of an answer from which compressing it saves time on a network."""
_AT_ONCE = 100_000
"""Bytes up to which it is compressed here; longer answers go to a thread, so that nobody waits for them."""
_LEVEL = 5


class Compression:
    """ASGI middleware that compresses whole answers with gzip; one that is sent in parts is passed on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not _accepts(Headers(scope=scope).get("accept-encoding", "")):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                headers = MutableHeaders(raw=start["headers"])
                headers.add_vary_header("Accept-Encoding")
                body = message.get("body", b"")
                whole = not message.get("more_body", False) and "content-encoding" not in headers
                if whole and len(body) >= SMALLEST:
                    message = {**message, "body": await _compressed(body)}
                    headers["content-encoding"] = "gzip"
                    headers["content-length"] = str(len(message["body"]))
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, compressing)


def _accepts(header: str) -> bool:
    """Return whether a client takes gzip.

    >>> [_accepts(one) for one in ("gzip, br", "br;q=1.0, *;q=0.5", "gzip;q=0", "identity", "")]
    [True, True, False, False, False]
    """
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = (text.strip() for text in part.partition(";"))
        try:
            weights[name] = float(parameter.partition("=")[2] or 1)
        except ValueError:
            weights[name] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


async def _compressed(body: bytes) -> bytes:
    if len(body) <= _AT_ONCE:
        return gzip.compress(body, _LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
