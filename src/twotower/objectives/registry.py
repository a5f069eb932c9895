"""The objectives by name: each is one file, and one line here."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

from pydantic import create_model

from twotower.config.bases import ObjectiveConfig, SamplingConfig
from twotower.core.registry import Registry, reference
from twotower.errors import ConfigError
from twotower.objectives.objective import Objective


def _with_config(part: type[Objective], name: str) -> None:
    """Give a class without a ``Config`` for this name one with its fields.

    Raises:
        ConfigError: a field has the name of the setting that names the objective.
    """
    base = part.Config
    if "name" in getattr(part, "__dataclass_fields__", {}):
        raise ConfigError(
            f"fields of an objective are its settings, and 'name' is the objective's own; {reference(part)} "
            "has a field of this name: give the field another one"
        )
    if "Config" not in vars(part):
        # of an objective that it is derived from, the settings that are not its own
        bases = (kind for kind in base.__mro__ if issubclass(kind, ObjectiveConfig))
        base = next(kind for kind in bases if kind.model_fields["name"].is_required())
        if part.samples and not issubclass(base, SamplingConfig):
            base = SamplingConfig
    elif base.model_fields["name"].default == name:
        return
    hints: dict[str, Any] = get_type_hints(part)
    known = {setting: Annotated[info.annotation, info] for setting, info in base.model_fields.items()}
    own: dict[str, Any] = {
        field.name: ((hints | known)[field.name], ... if field.default is MISSING else field.default)
        for field in fields(part)  # type: ignore[arg-type]
    }
    part.Config = create_model(
        f"{part.__name__}Config",
        __base__=base,
        __module__=part.__module__,
        __doc__=f"``{name}``: {inspect.getdoc(part)}",
        name=(str, name),
        **own,
    )
    # the class is made here, so a pickle says how
    part.Config.__reduce__ = lambda self: (_blank, (part, name), self.__getstate__())  # type: ignore[method-assign]


def _blank(part: type[Objective], name: str) -> Any:
    return OBJECTIVES.blank(part, name)


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
    named=_with_config,
)


def settings_of(objective: Objective) -> dict[str, Any]:
    """Return the settings of an objective given as an object; a class of one's own is registered."""
    return {"name": OBJECTIVES.name_of(type(objective)), **objective.settings()}
