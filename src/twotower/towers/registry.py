"""The kinds of towers by name: each is one file, and one line here."""

from __future__ import annotations

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


TOWERS: Registry[Tower] = Registry(
    "tower",
    "twotower.towers",
    {
        "linear": "linear:LinearTower",
        "mlp": "mlp:MLPTower",
    },
    named=_with_kind,
)
