"""Running the application with uvicorn: socket, limits, shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from twotower.errors import ConfigError
from twotower.server.app import create_app
from twotower.server.connections import connections
from twotower.server.logs import log_to_stderr
from twotower.server.settings import Settings
from twotower.server.store import StoreUnavailable

log = logging.getLogger("twotower.server")

_SWITCH_SECONDS = 0.0005
"""How long a thread at work keeps the interpreter to itself, ten times less than Python's default."""
_FILES = 200
"""Open files beside connections."""


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log_level: str = "info",
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in progress are answered first.

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
    _allow_files(settings.limits.connections + _FILES)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _listening(host, port) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",  # it is begun here, where its errors can be told
            http=connections(settings.limits),
            ws="none",
            timeout_keep_alive=math.ceil(settings.limits.idle_seconds),
            timeout_graceful_shutdown=math.ceil(settings.limits.last_seconds),
        )
        # uvicorn raises the signal that ended it again when all is done.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_run(app, uvicorn.Server(config), listening, started))


def _allow_files(most: int) -> None:
    """Raise the limit on open files, if the system allows it."""
    try:
        import resource  # noqa: PLC0415
    except ModuleNotFoundError:  # not POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < most:
        log.warning(
            "the system allows %d open files, fewer than the limit on connections needs; see ulimit -n",
            wanted,
        )


async def _run(
    app: FastAPI, server: uvicorn.Server, listening: socket.socket, started: Callable[[str], None]
) -> None:
    try:
        async with app.router.lifespan_context(app):
            gc.collect()
            gc.freeze()  # the model stays: looking through it for garbage would hold everyone up
            host, port = listening.getsockname()[:2]
            started(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")
            await server.serve(sockets=[listening])
    except StoreUnavailable as error:
        raise ConfigError(f"--store must be a store that responds; {error}") from None


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the server must be able to listen at {host}, port {port}: {reason}. Choose another --port"
        ) from None
