"""Logs as JSON, one object a line."""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson

LOGGER = "twotower.server"


class JsonFormatter(logging.Formatter):
    """Writes time, level, message, and whatever ``extra={"fields": {...}}`` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end."""
        moment = time.gmtime(record.created)
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def log_to_stderr(level: str) -> None:
    """Write the server's log to stderr, and the warnings of what it is built on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, least in ((LOGGER, level.upper()), ("uvicorn", "WARNING"), ("asyncio", "ERROR")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False
