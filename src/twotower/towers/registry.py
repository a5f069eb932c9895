"""The kinds of towers by name: each is one file, and one line here."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from twotower.core.registry import Registry
from twotower.towers.tower import Tower


def _with_kind(part: type[Tower], name: str) -> None:
    """Give a class settings that have this name."""
    own = part.Config
    if own.model_fields["kind"].default != name:
        part.Config = create_model(
            own.__name__, __base__=own, __module__=own.__module__, __doc__=own.__doc__, kind=(str, name)
        )
        # the class is made here, so a pickle says how
        part.Config.__reduce__ = lambda self: (_blank, (part, name), self.__getstate__())  # type: ignore[method-assign]


def _blank(part: type[Tower], name: str) -> Any:
    return TOWERS.blank(part, name)


TOWERS: Registry[Tower] = Registry(
    "tower",
    "twotower.towers",
    {
        "linear": "linear:LinearTower",
        "mlp": "mlp:MLPTower",
    },
    named=_with_kind,
)
