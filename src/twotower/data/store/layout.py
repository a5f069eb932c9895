"""What the files of a store are."""

from __future__ import annotations

from typing import Final

SIGN: Final = "manifest.json"
"""Written last: a folder without it is not a store."""
LAYOUT: Final = 1
"""Version of the files."""
ROLES: Final = ("label", "time", "weight", "duration")
"""Columns that a store may have beside users and items."""
