"""The objectives by name: each is one file, and one line here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_type_hints

from pydantic import create_model

from twotower.config.bases import ObjectiveConfig, SamplingConfig
from twotower.core.registry import Registry, reference
from twotower.objectives.objective import Objective

ObjectiveName = Literal["all_pairs", "softmax", "bpr", "squared", "huber", "logistic"]
"""The names of the built-in objectives, for editors."""

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    "twotower.objectives",
    {
        "all_pairs": "all_pairs:AllPairs",
        "softmax": "softmax:Softmax",
        "bpr": "bpr:BPR",
        "squared": "squared:Squared",
        "huber": "huber:Huber",
        "logistic": "logistic:Logistic",
    },
)


def register_objective(part: type[Objective], name: str | None = None) -> type[Objective]:
    """Add an objective of one's own; also as a decorator. It is saved as ``module:Class`` without a name.

    A class without a ``Config`` of its own gets one with its fields.

    Raises:
        ConfigError: the name is taken by another class.
    """
    called = name or reference(part)
    if "Config" not in vars(part) or part.Config.model_fields["name"].is_required():
        # of a built-in objective's settings, those that are not its own
        bases = (kind for kind in part.Config.__mro__ if issubclass(kind, ObjectiveConfig))
        base = next(kind for kind in bases if kind.model_fields["name"].is_required())
        if part.samples and not issubclass(base, SamplingConfig):
            base = SamplingConfig
        hints = get_type_hints(part)
        own: dict[str, Any] = {
            field.name: (hints[field.name], field.default)
            for field in fields(part)  # type: ignore[arg-type]
            if field.name not in base.model_fields
        }
        part.Config = create_model(
            f"{part.__name__}Config", __base__=base, __module__=part.__module__, name=(str, called), **own
        )
    return OBJECTIVES.register(part, called)


def settings_of(objective: Objective) -> dict[str, Any]:
    """Return the settings of an objective given as an object; a class of one's own is registered."""
    kind = type(objective)
    if OBJECTIVES.known_as(kind) is None:
        register_objective(kind)
    return {"name": OBJECTIVES.name_of(kind), **objective.settings()}
