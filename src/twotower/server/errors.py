"""Every error that a client sees, in one form: ``{"error": {"code", "message", "request_id", "where"}}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

_CODES = {
    400: "malformed",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    431: "too_large",
    503: "unavailable",
}
_SHOWN_FAULTS = 5
_SHOWN_LENGTH = 60


class ApiError(Exception):
    """A request that can't be met, and why; the message says what to fix and holds nothing private.

    Attributes:
        status: of HTTP.
        message: for the client.
        where: the part of the request that is wrong, such as ``events.3.time``.
    """

    def __init__(
        self, status: int, message: str, where: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.where = status, message, where
        self.headers = dict(headers or {})


def unavailable() -> ApiError:
    """Return the error of a store that does not answer."""
    return ApiError(
        503,
        "the event store is not responding, and this request needs it; try again in a moment",
        headers={"retry-after": "1"},
    )


def error_response(error: ApiError, request_id: str) -> Response:
    """Return the answer that says what is wrong."""
    body: dict[str, Any] = {
        "code": _CODES.get(error.status, "internal" if error.status >= 500 else "refused"),
        "message": error.message,
        "request_id": request_id,
        "where": error.where,
    }
    return Response(orjson.dumps({"error": body}), error.status, error.headers, media_type="application/json")


def shown(value: object) -> str:
    """Return a client's value as a message shows it: quoted, and cut to 60 characters."""
    if isinstance(value, int) and abs(value) > 10**_SHOWN_LENGTH:
        return "a number of very many digits"
    if isinstance(value, str):
        value = value[: _SHOWN_LENGTH + 1]  # quick, however long it is
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."


def from_validation(error: ValidationError) -> ApiError:
    """Return the client's error for an invalid body."""
    return from_faults(error.errors(include_url=False, include_context=False))


def from_faults(faults: Sequence[Any]) -> ApiError:
    """Return the client's error for what pydantic found wrong."""
    lines, first = [], None
    for fault in faults[:_SHOWN_FAULTS]:
        where = ".".join(str(part) for part in fault["loc"] if part not in ("body", "query", "path"))
        first = first or where or None
        message = fault["msg"].removeprefix("Value error, ")
        given = fault.get("input")
        plain = isinstance(given, str | int | float | bool) or given is None
        missing = fault["type"] == "missing"
        got = f", got {shown(given)}" if plain and not missing else ""
        lines.append(f"{where}: {message}{got}" if where else f"{message}{got}")
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"and {len(faults) - _SHOWN_FAULTS} more")
    return ApiError(422, "; ".join(lines), first)
