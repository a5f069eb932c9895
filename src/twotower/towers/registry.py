"""The kinds of towers by name: each is one file, and one line here."""

from __future__ import annotations

from twotower.core.registry import Registry
from twotower.towers.tower import Tower

TOWERS: Registry[Tower] = Registry(
    "tower",
    "twotower.towers",
    {
        "linear": "linear:LinearTower",
        "mlp": "mlp:MLPTower",
    },
)
