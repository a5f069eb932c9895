"""`Settings`: the settings of a `TwoTower`, by config section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from twotower.config import Config, ModelConfig, ObjectiveConfig, PositiveConfig, TrainingConfig
from twotower.config.explained import explain
from twotower.config.parts import PLACES, parts_of
from twotower.errors import ConfigError, nearest
from twotower.objectives import Objective
from twotower.objectives.registry import settings_of
from twotower.towers import Tower
from twotower.training import Trainer
from twotower.training.choice import Choice

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
        values: dict[str, dict[str, Any]] = {section: {} for section in PLACES}
        params = dict(params)
        for section, base in (("model", Tower), ("objective", Objective), ("training", Trainer)):
            key = _keyword(section, PLACES[section].key)
            part = params.get(key)
            if isinstance(part, base) and base is not Objective:
                raise ConfigError(
                    f"'{key}' must be a name or a subclass of {base.__name__}, got an object of one: give "
                    f"the class {type(part).__name__}; its settings are keywords."
                )
            if isinstance(part, type):
                if not issubclass(part, base):
                    raise ConfigError(
                        f"'{key}' must be a name or a subclass of {base.__name__}, got {part.__name__}."
                    )
                params[key] = PLACES[section].registry.name_of(part)
        for key, value in params.items():
            if key == "objective" and value == "auto":
                continue
            if key == "objective" and isinstance(value, Objective):
                values["objective"] |= settings_of(value)
            elif key not in ("positive", "seed"):
                section, name = _place_of(key)
                field = PLACES[section].fields()[name]
                optional = type(None) in get_args(field.annotation)
                given = None if optional and value == "none" else value  # as a config says it
                values[section].setdefault(name, given)
        positive = params.get("positive")
        if not isinstance(positive, Mapping):
            positive = {} if positive is None else {"threshold": positive}
        seed = params.get("seed", Config.model_fields["seed"].default)
        if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"'seed' must be a whole number, 0 or more, got {seed!r}.")
        rule = validated(PositiveConfig, "positive", positive)
        parts = parts_of(values, validated)
        return cls(rule, parts.model, parts.objective, parts.training, int(seed))

    def with_choice(self, choice: Choice) -> Settings:
        """Return the settings with what validation has chosen."""
        chosen = asdict(choice)

        def with_chosen(section: _Section) -> _Section:
            fields = type(section).model_fields
            return section.model_copy(update={k: v for k, v in chosen.items() if k in fields})

        return replace(self, model=with_chosen(self.model), objective=with_chosen(self.objective))

    def params(self) -> dict[str, Any]:
        """Return the keyword arguments that `of` makes these settings from."""
        found = {
            _keyword(section, name): getattr(getattr(self, section), name)
            for section in PLACES
            for name in type(getattr(self, section)).model_fields
        }
        rule = self.positive.model_dump(exclude_none=True)
        return {**found, "positive": rule or None, "seed": self.seed}


def keywords() -> list[str]:
    """Return the names of all keyword arguments of `TwoTower`, in the order of the sections."""
    names = [_keyword(section, name) for section, place in PLACES.items() for name in place.fields()]
    return [*names, "positive", "seed"]


def _keyword(section: str, name: str) -> str:
    return "objective" if (section, name) == ("objective", "name") else name


def _place_of(key: str) -> tuple[str, str]:
    if key == "objective":
        return "objective", "name"
    for section, place in PLACES.items():
        if key in place.fields() and key != "name":
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
        keys = PLACES[name].fields() if name in PLACES else kind.model_fields
        raise ConfigError(explain(error, name, keys)) from None
