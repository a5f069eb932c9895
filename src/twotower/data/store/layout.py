"""What the files of a store are."""

from __future__ import annotations

from typing import Final

from twotower.config.schema import Schema

SIGN: Final = "manifest.json"
"""Written last: a folder without it is not a store."""
LAYOUT: Final = 1
"""Version of the files."""
ROLES: Final = ("label", "time", "weight", "duration")
"""Columns that a store may have beside users and items."""


def columns_of(schema: Schema) -> dict[str, str]:
    """Return the column of the schema that has each role of a store."""
    given = {
        "label": schema.label,
        "time": schema.timestamp,
        "weight": schema.weight,
        "duration": schema.duration,
    }
    return {role: name for role, name in given.items() if name is not None}
