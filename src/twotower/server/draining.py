"""`DrainingServer`: an end that no client notices: first `/readyz` says 503, then no new connections."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn


class DrainingServer(uvicorn.Server):
    """Ends in two steps once it is told to by SIGTERM, or by Ctrl-C.

    First it says that it is not ready, so that load balancers turn to others, and goes on answering; each
    answer asks the client to close its connection. After that it stops listening and answers what is open.
    Without open connections, or told again, it ends at once.

    Args:
        config: of uvicorn.
        leave: called when it begins to end.
        seconds: length of the first step.
        interrupted: whether Ctrl-C ends it too.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        leave: Callable[[], None],
        seconds: float,
        *,
        interrupted: bool = True,
    ) -> None:
        super().__init__(config)
        self._leave, self._seconds, self._interrupted = leave, seconds, interrupted
        self._leaving = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is told to end."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def told_early(self, sig: int, frame: FrameType | None) -> None:
        """Remember a signal that comes while models are being loaded: it then ends instead of answering."""
        if sig != signal.SIGINT or self._interrupted:
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at once if it was told before."""
        if sig == signal.SIGINT and not self._interrupted:
            return
        if self._leaving or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._leaving = True
        self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._leave()
        if not self.server_state.connections:
            self._end()
            return
        assert self._loop is not None
        self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self.should_exit = True
