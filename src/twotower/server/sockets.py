"""Sockets that a server listens at."""

from __future__ import annotations

import socket
import sys

from twotower.errors import ConfigError


def listening(host: str, port: int, n: int) -> list[socket.socket]:
    """Return a listening socket for each of n workers, all of one address.

    The system divides the connections among them. The supervisor has them open too, so those that wait for a
    worker which is started again are not lost. Where the system can't divide, all share one socket.

    Raises:
        ConfigError: it can't be listened at.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        if n == 1 or not sys.platform.startswith("linux"):
            return [socket.create_server((host, port), family=family, backlog=2048)] * n
        found = [socket.create_server((host, port), family=family, backlog=2048, reuse_port=True)]
        port = found[0].getsockname()[1]
        found += [
            socket.create_server((host, port), family=family, backlog=2048, reuse_port=True)
            for _ in range(n - 1)
        ]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the server must be able to listen at {host}, port {port}: {reason}. Choose another --port"
        ) from None
    return found


def address_of(place: socket.socket) -> str:
    """Return the address of the page at a listening socket.

    >>> with socket.create_server(("127.0.0.1", 0)) as place:
    ...     address_of(place) == f"http://127.0.0.1:{place.getsockname()[1]}/"
    True
    """
    host, port = place.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
