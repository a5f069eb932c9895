"""The trainers by name: a file and a line here for each. The first that can train a model is the default."""

from __future__ import annotations

from typing import Literal

from twotower.core.registry import Registry
from twotower.training.trainer import Trainer

TrainerName = Literal["auto", "als", "variational", "gradients"]
"""The built-in names, for editors."""

TRAINERS: Registry[Trainer] = Registry(
    "trainer",
    "twotower.training",
    {
        "variational": "variational:Variational",
        "als": "linear_als:LinearALS",
        "gradients": "gradients:Gradients",
    },
)
