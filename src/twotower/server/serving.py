"""Running the application: the socket, uvicorn, and a clean end."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from twotower.errors import ConfigError
from twotower.server.app import create_app
from twotower.server.logs import log_to_stderr
from twotower.server.settings import Settings
from twotower.server.store import StoreUnavailable


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log_level: str = "info",
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until told to end (SIGTERM or Ctrl-C), answering first what was asked.

    Args:
        settings: what to serve.
        host: address to listen at.
        port: 0 takes one that is free.
        log_level: "debug", "info", "warning" or "error".
        started: told the page's address once the server answers.

    Raises:
        BundleError, ConfigError, MissingExtraError: it can't be served, or not at this address.
    """
    app = create_app(settings)
    log_to_stderr(log_level)
    with _listening(host, port) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",  # it is begun here, where its errors can be told
            timeout_keep_alive=30,
            timeout_graceful_shutdown=math.ceil(settings.limits.last_seconds),
        )
        # uvicorn raises the signal that ended it again when all is done.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_run(app, uvicorn.Server(config), listening, started))


async def _run(
    app: FastAPI, server: uvicorn.Server, listening: socket.socket, started: Callable[[str], None]
) -> None:
    try:
        async with app.router.lifespan_context(app):
            host, port = listening.getsockname()[:2]
            started(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")
            await server.serve(sockets=[listening])
    except StoreUnavailable as error:
        raise ConfigError(f"--store must be a store that answers; {error}") from None


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the server must be able to listen at {host}, port {port}: {reason}. Choose another --port"
        ) from None
