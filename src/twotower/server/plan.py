"""`Plan`: how several workers serve, and `become`, which turns this process into their supervisor."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass

from twotower.errors import ConfigError
from twotower.server.settings import Settings


@dataclass
class Plan:
    """How to serve.

    Attributes:
        settings: of each worker.
        workers: how many.
        host, port: where to listen.
        log_level: "debug", "info", "warning" or "error".
        said: what is told once all answer; ``{}`` is the address.
    """

    settings: Settings
    workers: int
    host: str
    port: int
    log_level: str
    said: str


def become(plan: Plan) -> None:
    """Turn this process into a supervisor, which has less in memory; does not return."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    content = pickle.dumps(plan)
    if len(content) > 60_000:  # a pipe takes so much without a reader
        raise ConfigError("the settings of the server are too large; name fewer tokens and hosts")
    os.write(writer, content)
    os.close(writer)
    os.execv(sys.executable, [sys.executable, "-m", "twotower.server.supervisor", str(reader)])
