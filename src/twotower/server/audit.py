"""`Audit`: who changed what, one JSON object a line."""

from __future__ import annotations

import logging
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from twotower.errors import ConfigError
from twotower.server.access import ADMIN
from twotower.server.logs import JsonFormatter

CHANGING = ("events", "items", ADMIN)
"""Scopes of the routes that change something."""


class Audit:
    """Writes changes, and requests for changes that were refused: to a file, or into the server's log.

    Args:
        path: a file to append to, which may be rotated; None for the server's log.

    Raises:
        ConfigError: the file can't be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._log = logging.getLogger(f"twotower.server.audit.{id(self):x}")
        if path is None:
            return
        try:
            handler = WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--audit-log must be a file that can be written; {error}") from None
        handler.setFormatter(JsonFormatter())
        self._log.addHandler(handler)
        self._log.setLevel(logging.INFO)
        self._log.propagate = False

    def write(self, action: str, who: str, **fields: Any) -> None:
        """Write one change.

        Args:
            action: what was asked, such as ``PUT /v1/items/{item_id}``.
            who: the token, or where from.
            fields: of what, and with which outcome.
        """
        self._log.info("audit", extra={"fields": {"action": action, "who": who, **fields}})

    def close(self) -> None:
        """Close the file."""
        for handler in self._log.handlers:
            handler.close()
