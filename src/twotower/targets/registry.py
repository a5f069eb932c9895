"""The label transforms by name: each is a class, and one line here."""

from __future__ import annotations

from twotower.core.registry import Registry
from twotower.targets.labels import LabelTransform

TRANSFORMS: Registry[LabelTransform] = Registry(
    "transform",
    "twotower.targets",
    {
        "none": "labels:Identity",
        "cap": "labels:Cap",
        "log1p": "labels:Log1p",
        "standardise": "labels:Standardise",
        "duration_rank": "duration_rank:DurationRank",
    },
)
