"""The poolings by name: each is one file, and one line here."""

from __future__ import annotations

from twotower.core.registry import Registry
from twotower.towers.poolings.pooling import Pooling

POOLINGS: Registry[Pooling] = Registry(
    "pooling",
    "twotower.towers.poolings",
    {
        "decay": "decay:Decay",
        "recurrent": "recurrent:Recurrent",
        "mean": "mean:Mean",
        "attention": "attention:Attention",
    },
)
