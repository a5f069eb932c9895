"""`Settings`: the settings of a `TwoTower`, by config section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from twotower.config import (
    SOLVABLE,
    Config,
    ModelConfig,
    ObjectiveConfig,
    PositiveConfig,
    TrainingConfig,
    check_agreement,
    is_solved,
    set_for_gradients,
)
from twotower.config.explained import explain
from twotower.errors import ConfigError, nearest

SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "training": TrainingConfig,
}
"""Sections whose keys are keyword arguments of `TwoTower`; ``objective`` stands for ``objective.name``."""

_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True)
class Settings:
    """The validated settings of an estimator.

    Attributes:
        positive: which interactions are positives.
        model: sizes of the towers.
        objective: what is minimised.
        training: how.
        seed: of weights, batches and dropout.
    """

    positive: PositiveConfig
    model: ModelConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    seed: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Settings:
        """Validate the keyword arguments of a `TwoTower`.

        Raises:
            ConfigError: an unknown setting (the message names the nearest), a value out of range, or a
                setting that nothing would read.
        """
        values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for key, value in params.items():
            if key not in ("positive", "seed"):
                section, name = _place_of(key)
                optional = type(None) in get_args(SECTIONS[section].model_fields[name].annotation)
                values[section][name] = None if optional and value == "none" else value  # as a config says it
        positive = params.get("positive")
        if not isinstance(positive, Mapping):
            positive = {} if positive is None else {"threshold": positive}
        seed = params.get("seed", Config.model_fields["seed"].default)
        if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"'seed' must be a whole number, 0 or more, got {seed!r}.")
        made = cls(
            validated(PositiveConfig, "positive", positive),
            validated(ModelConfig, "model", values["model"]),
            validated(ObjectiveConfig, "objective", values["objective"]),
            validated(TrainingConfig, "training", values["training"]),
            int(seed),
        )
        try:
            check_agreement(made.model, made.objective, made.training)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return made

    def params(self) -> dict[str, Any]:
        """Return the keyword arguments that `of` makes these settings from."""
        rule = self.positive.model_dump(exclude_none=True)
        return {
            **{name: getattr(self.model, name) for name in ModelConfig.model_fields},
            **{_keyword(name): getattr(self.objective, name) for name in ObjectiveConfig.model_fields},
            **{name: getattr(self.training, name) for name in TrainingConfig.model_fields},
            "positive": rule or None,
            "seed": self.seed,
        }


def gradients_note(
    model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig, *, sections: bool = True
) -> str | None:
    """Say which settings switch from the closed form to gradient training; None if none does.

    Args:
        model: sizes of the towers.
        objective: what is minimised.
        training: how.
        sections: whether to name settings as a config does (``training.learning_rate``).
    """
    if objective.name not in SOLVABLE or model.normalise or model.hidden not in ("auto", ()):
        return None
    if is_solved(model, objective, training):
        return None
    changed = set_for_gradients(model, training)
    if not sections:
        changed = [key.split(".")[1] for key in changed]
    layers = " with one hidden layer of 128 units" if model.hidden == "auto" else ""
    only = "applies only to gradient training" if len(changed) == 1 else "apply only to gradient training"
    return (
        f"{', '.join(changed)} {only}, so the towers are trained by gradients{layers}; with default values "
        f"there, objective '{objective.name}' is solved in closed form"
    )


def keywords() -> list[str]:
    """Return the names of all keyword arguments of `TwoTower`, in the order of the sections."""
    names = [
        _keyword(name) if kind is ObjectiveConfig else name
        for kind in SECTIONS.values()
        for name in kind.model_fields
    ]
    return [*names, "positive", "seed"]


def _keyword(name: str) -> str:
    return "objective" if name == "name" else name


def _place_of(key: str) -> tuple[str, str]:
    if key == "objective":
        return "objective", "name"
    for section, kind in SECTIONS.items():
        if key in kind.model_fields and key != "name":
            return section, key
    known = sorted(keywords())
    hint = nearest(key, known) or f" Valid: {', '.join(known)}."
    raise ConfigError(f"unknown setting {key!r}.{hint}")


def validated(kind: type[_Section], name: str, values: Mapping[str, Any]) -> _Section:
    """Return a section with these values.

    Raises:
        ConfigError: a value that is not valid; one line for each.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain(error, name, kind.model_fields)) from None
