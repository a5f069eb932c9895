"""The trainers by name: a file and a line here for each. The first that can train a model is the default."""

from __future__ import annotations

from twotower.core.registry import Registry
from twotower.training.trainer import Trainer

TRAINERS: Registry[Trainer] = Registry(
    "trainer",
    "twotower.training",
    {
        "variational": "closed_form.variational:Variational",
        "als": "closed_form.linear_als:LinearALS",
        "ease": "closed_form.item_item:Ease",
        "sequences": "sequences:Sequences",
        "several": "several:Several",
        "gradients": "gradients:Gradients",
    },
)
