"""`work`: one of several processes that act as one server; see `Supervisor`."""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twotower.server.settings import Settings


def work(
    settings: Settings,
    listening: socket.socket,
    log_level: str,
    connection: Connection,
    copies: dict[str, str],
) -> None:
    """Serve until the supervisor says so, or is gone.

    Args:
        settings: how to serve.
        listening: where to take connections from.
        log_level: of the log.
        connection: to the supervisor.
        copies: name of each model -> copy of its bundle, which is mapped.
    """
    from pathlib import Path  # noqa: PLC0415  (the supervisor, which imports this, needs none of these)

    from twotower.errors import TwoTowerError  # noqa: PLC0415
    from twotower.server.app import create_app  # noqa: PLC0415
    from twotower.server.link import Link  # noqa: PLC0415
    from twotower.server.serving import serve_on  # noqa: PLC0415

    try:
        app = create_app(settings)
        service = app.state.service
        for model in service.models:
            model.states.copy = Path(copies[model.run])
        link = service.link = Link(connection, service)
        serve_on(app, settings, listening, log_level, link.start, interrupted=False)
    except TwoTowerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
