"""Limits of a request body, checked before it is parsed; reading stops at the first fault.

A body is cut off at a size, its lists and objects are counted in its bytes, and what is parsed is measured
against the limits before pydantic looks at its values. No fault is ever collected beside a million others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, FailFast, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from twotower.server.errors import ApiError, from_validation, shown
from twotower.server.settings import Limits

Body = TypeVar("Body", bound=BaseModel)


class _FailFast(FailFast):
    """Pydantic's `FailFast`, hashable, so that it can be used in a union of types."""

    def __hash__(self) -> int:
        return hash(type(self))


FIRST = _FailFast()
"""Marks a list or an object whose first wrong value alone is reported."""

_NAME = 256
_CONTAINERS = 100_000
"""Lists and objects of one body: each takes some hundred bytes of memory for its two in the body."""
_VALUES = 250_000
"""Values of one body: the parser holds up everything else while it makes them."""


def read(data: bytes, model: type[Body], limits: Limits) -> Body:
    """Return a body from its bytes.

    Raises:
        ApiError: it is not JSON, holds more than the limits allow, or is not as it must be.
    """
    most = max(_CONTAINERS, 2 * limits.events, 2 * limits.list_length)
    if data.count(b"[") + data.count(b"{") > most:
        raise ApiError(413, f"a body may hold at most {most} lists and objects; send less at once")
    most = max(_VALUES, 10 * limits.events, 10 * limits.list_length)
    if data.count(b",") > most:
        raise ApiError(413, f"a body may hold at most {most} values, and commas; send less at once")
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        named = data[error.pos : error.pos + 2].lstrip(b"-")[:1] in (b"N", b"I")
        hint = "; NaN and Infinity are not JSON, leave such a value out" if named else ""
        raise ApiError(400, f"the body must be JSON; {error}{hint}") from None
    try:
        return model.model_validate(parsed, context=limits)
    except ValidationError as error:
        raise from_validation(error) from None


def at_most(limit: str, what: str) -> BeforeValidator:
    """Return a check that a list or an object is not longer than a limit, before its values are read."""

    def check(given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, list | dict):
            _measure(given, getattr(_limits(info), limit), what)
        if isinstance(given, dict):
            _names(given)
        return given

    return BeforeValidator(check)


def flat() -> BeforeValidator:
    """Return a check that an object holds a bounded number of plain values and of lists of plain values."""

    def check(given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, dict):
            return given
        limits = _limits(info)
        _measure(given, limits.features, "columns")
        _names(given)
        for name, value in given.items():
            inside = value
            if isinstance(value, list):
                _measure(value, limits.list_length, f"values of {name!r}")
                inside = next((one for one in value if isinstance(one, list | dict)), None)
            if isinstance(inside, list | dict):
                raise PydanticCustomError(
                    "not_plain",
                    "{name} must be a plain value or a list of plain values",
                    {"name": repr(name)},
                )
        return given

    return BeforeValidator(check)


def first_unknown(given: Any, known: Iterable[str]) -> Any:
    """Return what is given, or refuse the first unknown key."""
    if isinstance(given, dict):
        for name in given:
            if name not in known:
                raise PydanticCustomError(
                    "unknown",
                    "there is no {name} here; there are {known}",
                    {"name": shown(name), "known": ", ".join(known)},
                )
    return given


def _limits(info: ValidationInfo) -> Limits:
    return info.context if isinstance(info.context, Limits) else Limits()


def _measure(given: Sized, most: int, what: str) -> None:
    if len(given) > most:
        raise PydanticCustomError(
            "too_many", "at most {most} {what}, got {got}", {"most": most, "what": what, "got": len(given)}
        )


def _names(given: dict[str, Any]) -> None:
    if longest := next((name for name in given if len(name) > _NAME), None):
        raise PydanticCustomError(
            "too_long",
            "a column's name has at most {most} characters, got {name}",
            {"most": _NAME, "name": shown(longest)},
        )
