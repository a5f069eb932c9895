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
_PLAIN = {
    "missing": "is missing",
    "too_short": "must have at least {min_length} {entries}",
    "string_too_short": "must have at least {min_length} {characters}",
    "string_too_long": "must have at most {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 63 bits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "literal_error": "must be {expected}",
    "datetime_parsing": "must be a time in ISO 8601",
    "datetime_from_date_parsing": "must be a time in ISO 8601",
    "datetime_type": "must be a time in ISO 8601",
}
"""Type of a fault of pydantic -> what is wrong, in plain words; its own words are for those who know it."""
_BRANCHES = {"constrained-int", "constrained-str", "float", "datetime", "bool", "int", "str"}
"""Last parts of the place of a fault that say which kind was tried, of several that are allowed."""
_AS_JSON = {None: "null", True: "true", False: "false"}
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


def no_index() -> ApiError:
    """Return the error of a vector database that does not answer."""
    return ApiError(
        503,
        "the vector database is not responding, and this request needs it; try again in a moment",
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
    return from_faults(error.errors(include_url=False))


def from_faults(faults: Sequence[Any]) -> ApiError:
    """Return the client's error for what pydantic found wrong."""
    found: dict[str, tuple[list[str], str]] = {}
    for fault in faults:
        place = [part for part in fault["loc"] if part not in ("body", "query", "path")]
        if len(place) > 1 and place[-1] in _BRANCHES:
            place.pop()
        given = fault.get("input")
        plain = isinstance(given, str | int | float | bool) or given is None
        text = _AS_JSON[given] if given is None or isinstance(given, bool) else shown(given)
        got = f", got {text}" if plain and fault["type"] != "missing" else ""
        messages, _ = found.setdefault(".".join(map(str, place)), ([], got))
        if (message := _message(fault)) not in messages:
            messages.append(message)
    lines = []
    for where, (messages, got) in list(found.items())[:_SHOWN_FAULTS]:
        message = " or ".join([messages[0], *(one.removeprefix("must be ") for one in messages[1:])])
        subject = f"{where}: " if where else "the body " if message.startswith("must") else "the body: "
        lines.append(f"{subject}{message}{got}")
    if len(found) > _SHOWN_FAULTS:
        lines.append(f"and {len(found) - _SHOWN_FAULTS} more")
    return ApiError(422, "; ".join(lines), next(iter(found), None) or None)


def _message(fault: Any) -> str:
    """Return what is wrong, without the place and the value."""
    plain = _PLAIN.get(fault["type"])
    if plain is None:
        return str(fault["msg"]).removeprefix("Value error, ")
    context = fault.get("ctx", {})
    one = context.get("min_length") == 1
    words = {"entries": "entry" if one else "entries", "characters": "character" if one else "characters"}
    return plain.format(**words, **context)
