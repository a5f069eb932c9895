"""`Call`: one request as plain values, and how its answer is read; it knows no transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from numbers import Integral, Real
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from twotower.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        read: gives the answer from the bytes of its body.
        body: of JSON; None for none.
        repeatable: whether it may be sent again if the connection fails: twice has the effect of once.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    repeatable: bool = True

    def query(self) -> dict[str, str]:
        """Return the parameters that are given, as text."""
        return {name: _text(value) for name, value in self.params.items() if value is not None}

    def content(self) -> bytes | None:
        """Return the bytes of the body, of the parts that are given.

        Raises:
            DataError: a value has no form in JSON.
        """
        if self.body is None:
            return None
        given = {name: value for name, value in self.body.items() if value is not None}
        try:
            return json.dumps(given, default=_plain, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise DataError(
                f"a request holds text, finite numbers, times, lists and objects; {error}; leave a missing "
                "value out"
            ) from None


def in_path(name: int | str) -> str:
    """Return an id as one part of a path, whatever letters it has.

    >>> in_path("a/b"), in_path(".."), in_path(14)
    ('a%2Fb', '%2E%2E', '14')
    """
    try:
        text = quote(str(name), safe="")
    except UnicodeEncodeError:
        raise DataError(f"an id must be valid Unicode text, got {name!r}") from None
    return text.replace(".", "%2E") if text in (".", "..") else text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: object) -> Any:
    """Return a value that `json` does not know, such as an array of NumPy, as one that it does."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return list(value)
    raise TypeError(f"got {value!r} of type {type(value).__name__}")
