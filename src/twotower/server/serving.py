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
from twotower.server.draining import DrainingServer
from twotower.server.logs import log_to_stderr
from twotower.server.settings import Settings
from twotower.server.sockets import address_of, listening
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
    (only,) = listening(host, port, 1)
    with only:
        address = address_of(only)
        serve_on(app, settings, only, log_level, lambda: started(address))


def serve_on(
    app: FastAPI,
    settings: Settings,
    place: socket.socket,
    log_level: str,
    started: Callable[[], None],
    *,
    interrupted: bool = True,
) -> None:
    """Serve an application at a socket; see `serve`.

    Args:
        app: from `create_app`.
        settings: that it was made of.
        place: the socket, which is closed at the end.
        log_level: of the log.
        started: called once it answers.
        interrupted: whether Ctrl-C ends it.
    """
    log_to_stderr(log_level)
    _allow_files(settings.limits.connections + _FILES)
    sys.setswitchinterval(_SWITCH_SECONDS)
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
    leave = app.state.service.leave
    server = DrainingServer(config, leave, settings.limits.drain_seconds, interrupted=interrupted)
    # Until it answers, and when all is done: uvicorn raises the signal that ended it again.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.told_early)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_run(app, server, place, started))


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
    app: FastAPI, server: DrainingServer, place: socket.socket, started: Callable[[], None]
) -> None:
    try:
        async with app.router.lifespan_context(app):
            gc.collect()
            gc.freeze()  # the model stays: looking through it for garbage would hold everyone up
            if server.should_exit:
                return
            started()
            await server.serve(sockets=[place])
    except StoreUnavailable as error:
        raise ConfigError(f"--store must be a store that responds; {error}") from None
