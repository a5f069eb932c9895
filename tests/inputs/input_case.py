"""One input as people have it, and what must come of it: the right value, or one clear error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Content = str | bytes | Callable[[Path], None]
"""Text or bytes of a file, or what writes it at the path that it is given."""


@dataclass(frozen=True)
class Error:
    """One clear error is wanted: a `TwoTowerError` whose message has all of these parts."""

    parts: tuple[str, ...]

    def __init__(self, *parts: str) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True)
class Case:
    """An input and what must come of it.

    Attributes:
        name: unique among all cases; the test's id.
        files: written to an empty folder first, by path within it.
        ask: does something with the folder and returns a value of plain Python.
        want: the value that must come back, or the `Error`.
    """

    name: str
    files: Mapping[str, Content]
    ask: Callable[[Path], Any]
    want: Any
