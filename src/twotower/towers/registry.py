"""The kinds of towers by name: each is one file, and one line here."""

from __future__ import annotations

from inspect import signature
from typing import Any

from pydantic import create_model

from twotower.core.registry import Registry, reference
from twotower.errors import ConfigError
from twotower.towers.tower import Tower


def _with_kind(part: type[Tower], name: str) -> None:
    """Give a class settings that have this name.

    Raises:
        ConfigError: towers can't be made from the class.
    """
    if part.combined is Tower.combined and part.from_features is Tower.from_features:
        raise ConfigError(f"a kind of towers needs a method combined; {reference(part)} has none")
    if part.pair.__func__ is Tower.pair.__func__:  # type: ignore[attr-defined]
        arguments = "shape, n_ids, config, generator"
        given = signature(part)
        try:
            given.bind(*arguments.split(", "))
        except TypeError:
            raise ConfigError(
                f"towers are made with ({arguments}); {reference(part)} takes {given}: give it a method "
                f"__init__(self, {arguments}) that calls super().__init__, or a classmethod pair"
            ) from None
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
        "item_item": "item_item:ItemItemUsers",
        "sequence": "sequence:SequenceUsers",
        "auto": "auto:AutoUsers",
    },
    named=_with_kind,
)
