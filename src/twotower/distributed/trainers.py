"""The trainers that run in blocks on a cluster, by the name of the one whose work they do."""

from __future__ import annotations

from typing import Any

from twotower.core.registry import Registry

BLOCK_TRAINERS: Registry[Any] = Registry(
    "block_trainer",
    "twotower.distributed",
    {
        "als": "als:BlockALS",
        "variational": "variational:BlockVariational",
        "ease": "item_item:TeamEase",
        "gradients": "gradients:TeamGradients",
        "sequences": "gradients:TeamSequences",
    },
)
"""Each has a classmethod ``on(team, task, config)``."""
