"""`Connection`: uvicorn's HTTP/1.1 with bounds on what a client may keep open, send and leave unread.

uvicorn itself limits neither the size of a head nor the time it takes, waits for ever for an answer to be
read, and parses as many requests as a client sends ahead. Each of these is a timer or a count here.
"""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from twotower.server.errors import ApiError, error_response
from twotower.server.settings import Limits

AHEAD = 16
"""Requests that a client may send before the first is answered."""
PROGRESS = 16 << 10
"""Bytes of an answer that a client must at least take within ``write_seconds``."""
UNSENT = 64 << 20
"""Bytes of answers that clients may leave unread together; past it the one who is slowest is cut off."""
_AFTER = 5.0
"""Seconds that the application has to say by itself that a body is late."""


class _Refused(Exception):
    """Stops the parser."""


class Connection(HttpToolsProtocol):
    """One client's connection."""

    limits: ClassVar[Limits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request, or refuse the connection if there are too many."""
        super().connection_made(transport)
        self._refusal = ApiError(400, "this is not an HTTP/1.1 request")
        self._other = 0  # bytes since the last part of a body, or the last request
        self._timer: asyncio.TimerHandle | None = None  # for a head or a body to come
        self._unsent, self._watch = 0, None  # type: int, asyncio.TimerHandle | None
        self._idle: float | None = self.loop.time()  # since when no request is in progress
        self._watched = 0.0
        if len(self.connections) > self.limits.connections:
            self._make_room()
        self._wait(self.limits.head_seconds, self._late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        self._timer = self._watch = None
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Close the connection that has been idle longest, or refuse this one."""
        idle = [one for one in self.connections if one is not self and isinstance(one, Connection)]
        waiting = [one for one in idle if one._idle is not None]
        if waiting:
            oldest = min(waiting, key=lambda one: one._idle or 0.0)
            oldest.connections.discard(oldest)
            oldest.transport.abort()
        else:
            self._refuse(ApiError(503, "too many connections", headers={"retry-after": "1"}))

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to the parser, and check the size of the headers."""
        if self.transport.is_closing():
            return
        self._other += len(data)
        if self._idle is not None and self._timer is None:
            self._wait(self.limits.head_seconds, self._late_head)
        super().data_received(data)
        if self._other > self.limits.head_bytes and not self.transport.is_closing():
            self._refuse(self._too_long())

    def on_headers_complete(self) -> None:
        """Check the size of the headers and the number of waiting requests; start the timer of the body."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._refusal = self._too_long()
            raise _Refused
        if len(self.pipeline) >= AHEAD:
            self._refusal = ApiError(503, "too many requests at once on one connection")
            raise _Refused
        self._other, self._idle = 0, None
        self._wait(self.limits.body_seconds + _AFTER, self._late_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of a body."""
        self._other = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timer: the request is complete."""
        self._other = 0
        self._wait(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Send the error of an invalid request."""
        self._refuse(self._refusal)

    def _too_long(self) -> ApiError:
        return ApiError(431, f"the headers of a request may have at most {self.limits.head_bytes} bytes")

    def _late_head(self) -> None:
        seconds = self.limits.head_seconds
        self._refuse(
            ApiError(408, f"the headers of a request must arrive within {seconds:g} s"),
            silent=not self._other,
        )

    def _late_body(self) -> None:
        self.transport.abort()

    def _wait(self, seconds: float | None, late: object = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, late)  # type: ignore[arg-type]

    def _refuse(self, error: ApiError, *, silent: bool = False) -> None:
        """Send an error and close the connection; in the middle of another response only close it."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        if not silent:
            answer = error_response(error, os.urandom(8).hex())
            head = [(b"connection", b"close"), *answer.raw_headers]
            lines = [b"%s: %s\r\n" % header for header in head]
            self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
        self._watch_writing()

    # What goes out

    def on_response_complete(self) -> None:
        """Start the timer of the next request."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._idle = self.loop.time()
        self._watch_writing()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read fast enough."""
        super().pause_writing()
        self._watch_writing()
        late = [one for one in self.connections if isinstance(one, Connection) and one._watch is not None]
        late.sort(key=lambda one: one._watched)
        total = sum(one.transport.get_write_buffer_size() for one in late)
        for one in late:
            if total <= UNSENT or one is self:
                break
            total -= one.transport.get_write_buffer_size()
            one.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._watch_writing()

    def _watch_writing(self) -> None:
        size = self.transport.get_write_buffer_size()
        if size and self._watch is None:
            self._unsent, self._watched = size, self.loop.time()
            self._watch = self.loop.call_later(self.limits.write_seconds, self._check_writing)

    def _check_writing(self) -> None:
        self._watch = None
        size = self.transport.get_write_buffer_size()
        if size and size > self._unsent - PROGRESS:
            self.transport.abort()
        else:
            watched = self._watched
            self._watch_writing()
            self._watched = watched


def connections(limits: Limits) -> type[Connection]:
    """Return the protocol class for uvicorn."""
    return type("LimitedConnection", (Connection,), {"limits": limits})
