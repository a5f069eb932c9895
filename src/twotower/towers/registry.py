"""The kinds of towers by name: each is one file, and one line here."""

from __future__ import annotations

from typing import Literal

from twotower.core.registry import Registry
from twotower.towers.tower import Tower

TowerName = Literal["linear", "mlp"]
"""The built-in names, for editors."""

TOWERS: Registry[Tower] = Registry(
    "tower",
    "twotower.towers",
    {
        "linear": "linear:LinearTower",
        "mlp": "mlp:MLPTower",
    },
)
