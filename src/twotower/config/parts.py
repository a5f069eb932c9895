"""Sections with the settings of the part that they name: ``[model]``, ``[objective]``, ``[training]``.

Which settings there are is asked of the parts. Their packages lie above this one, so the registries are
looked up when they are first needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic.fields import FieldInfo

from twotower.config.bases import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.named import PartName
from twotower.config.renamed import EARLIER_DEFAULTS, MOVED, renamed_warning
from twotower.config.sections import Section
from twotower.core.registry import Registry
from twotower.errors import ConfigError, RenamedWarning

AUTO: Final = "auto"


@dataclass(frozen=True)
class Place:
    """A section that names a part.

    Attributes:
        section: its name.
        key: the key that names the part.
        base: the settings that all parts have.
    """

    section: str
    key: str
    base: type[Section]

    @cached_property
    def registry(self) -> Registry[Any]:
        """The parts that the section can name."""
        (named,) = (one for one in self.base.model_fields[self.key].metadata if isinstance(one, PartName))
        return named.registry

    def part(self, name: Any) -> Any:
        """Return the class of a part.

        Raises:
            ConfigError: there is no part of this name.
        """
        if not isinstance(name, str) or (name not in self.registry and ":" not in name):
            default = self.base.model_fields[self.key].default
            besides = [default] if isinstance(default, str) and default not in self.registry else []
            raise self.registry.unknown(name, f"'{self.section}.{self.key}'", besides)
        return self.registry.get(name)

    def configs(self) -> Iterator[tuple[str, type[Any]]]:
        """Yield the name of each part and the class of its settings."""
        for name in self.registry.names():
            yield name, self.registry.get(name).Config

    def fields(self) -> dict[str, FieldInfo]:
        """Return the settings of all parts, those that all have first."""
        found = dict(self.base.model_fields)
        for _, config in self.configs():
            found |= {name: field for name, field in config.model_fields.items() if name not in found}
        return found

    def owners(self, setting: str) -> list[str]:
        """Return the names of the parts that have a setting."""
        return [name for name, config in self.configs() if setting in config.model_fields]

    def read(
        self,
        name: str,
        values: Mapping[str, Any],
        why: str = "",
        fix: str = "",
        fitting: Collection[str] = (),
        instead: str = "",
    ) -> dict[str, Any]:
        """Return the values that a part has; those of others are left out if they are at their defaults.

        Args:
            name: of the part.
            values: setting -> value.
            why: added to an error: why it is this part.
            fix: what else to do, for an error.
            fitting: names of the parts that could be used instead, for an error; all if none of them helps.
            instead: what to do, for an error, where none of them can be named; empty to name the first.

        Raises:
            ValueError: a setting that other parts have and this one does not, changed from its default.
        """
        kept: dict[str, Any] = {}
        own = self.part(name).Config.model_fields
        for setting, value in values.items():
            owners = [] if setting in own else self.owners(setting)
            if not owners:
                kept[setting] = value  # its own; or nobody's, which is an error later
                continue
            default = self.fields()[setting].default
            same = (
                default,
                list(default) if isinstance(default, tuple) else "none" if default is None else default,
                *EARLIER_DEFAULTS.get(f"{self.section}.{setting}", ()),
            )
            if value not in same:
                owners = [one for one in owners if one in fitting] or owners
                others = " or ".join(f"'{one}'" for one in owners)
                standing = "none" if default is None else default
                other = instead or f"set {self.section}.{self.key} = '{owners[0]}'{fix}"
                raise ValueError(
                    f"{self.section}.{setting} = {value!r} is only read by {self.registry.kind} {others}, "
                    f"not by '{name}'{why}; leave it at {standing!r}, or {other}"
                )
        return kept


MODEL: Final = Place("model", "kind", ModelConfig)
OBJECTIVE: Final = Place("objective", "name", ObjectiveConfig)
TRAINING: Final = Place("training", "trainer", TrainingConfig)
PLACES: Final[Mapping[str, Place]] = {place.section: place for place in (MODEL, OBJECTIVE, TRAINING)}


def first_that(*, predicts: bool, logits: bool = False) -> str:
    """Return the first objective that ranks, or predicts a label, with ``logits`` one of yes or no."""
    return next(
        name
        for name, config in OBJECTIVE.configs()
        if config.implicit != predicts and config.logits == logits
    )


def first_that_samples() -> str:
    """Return the first objective that samples negatives."""
    return next(name for name, config in OBJECTIVE.configs() if config().sampled_items is not None)


def default_objective() -> ObjectiveConfig:
    """Return the settings of the default objective."""
    found: ObjectiveConfig = OBJECTIVE.registry.get(OBJECTIVE.registry.default).Config()
    return found


def default_model() -> ModelConfig:
    """Return the settings of the default towers."""
    found: ModelConfig = MODEL.registry.get(AUTO).Config()
    return found


def trainer_of(model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig) -> str:
    """Return the name of the trainer; for "auto" the first that can train these towers by this objective.

    Raises:
        ValueError: the trainer that is named can't; or none can.
    """
    trainers = TRAINING.registry
    towers = f"towers of kind '{model.kind}'{' that are normalised' if model.normalise else ''}"
    able = [name for name in trainers.names() if trainers.get(name).trains(model, objective)]
    if not able:
        fitting = [
            name
            for name, config in OBJECTIVE.configs()
            if any(trainers.get(one).trains(model, config()) for one in trainers.names())
        ]
        fix = f"use objective {' or '.join(map(repr, fitting))}" if fitting else "use other towers"
        raise ValueError(f"no trainer can train {towers} by objective '{objective.name}'; {fix}")
    if training.trainer == AUTO:
        return str(able[0])
    if training.trainer not in able:
        TRAINING.part(training.trainer)  # an error of its own if there is none
        raise ValueError(
            f"training.trainer = '{training.trainer}' can't train {towers} by objective '{objective.name}'; "
            f"use {' or '.join(repr(one) for one in able)}"
        )
    return training.trainer


Validate = Callable[[type[Any], str, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Parts:
    """The sections that name parts, each with the settings of its part."""

    model: ModelConfig
    objective: ObjectiveConfig
    training: TrainingConfig


def parts_of(sections: Mapping[str, Mapping[str, Any]], validate: Validate, *, warn: bool = True) -> Parts:
    """Return the sections as typed values.

    Args:
        sections: section -> setting -> value; sections may be missing.
        validate: makes a section: ``(class, section's name, values) -> value``; raises a `ConfigError` for
            values that are not valid.
        warn: whether settings in the form of an earlier version give a `RenamedWarning`.

    Raises:
        ConfigError: every fault, a line for each: there is no part of a name, a value is not valid, nothing
            would read a setting, a trainer can't train these towers.
    """
    given = _current({name: dict(sections.get(name, {})) for name in PLACES}, warn=warn)
    made: dict[str, Any] = {}
    faults: list[str] = []
    given["model"].setdefault("kind", _usual_kind(given))
    for place in (MODEL, OBJECTIVE):
        samples = place is OBJECTIVE and "model" in made and made["model"].samples
        usual = first_that_samples() if samples else ""
        name = given[place.section].setdefault(place.key, usual or place.registry.default)
        with _collecting(faults):
            values = place.read(name, given[place.section])
            made[place.section] = validate(place.part(name).Config, place.section, values)
    with _collecting(faults):
        values = given["training"]
        common = {key: values[key] for key in TrainingConfig.model_fields if key in values}
        training = validate(TrainingConfig, "training", common)
        if "model" in made and "objective" in made:
            model, objective = made["model"], made["objective"]
            name = trainer_of(model, objective, training)
            why = f", which trains towers of kind '{model.kind}' by objective '{objective.name}'"
            part = TRAINING.part(name)
            fitting = [one for one in TRAINING.registry if TRAINING.part(one).trains(model, objective)]
            instead = ""
            if model.kind == AUTO:
                instead = (
                    "name one kind of towers (model.kind) instead of 'auto', each of which has its trainer"
                )
            values = TRAINING.read(name, values, why, fitting=fitting, instead=instead)
            made["training"] = validate(part.Config, "training", values)
            part.check(made["training"], objective)
    if faults:
        raise ConfigError("\n".join(faults))
    return Parts(**made)


def _usual_kind(given: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the kind of towers where none is named: "auto", unless it is said how they are trained."""
    said = "name" in given["objective"] or given["training"].get("trainer", AUTO) != AUTO
    return MODEL.registry.default if said else AUTO


@contextmanager
def _collecting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        faults += str(error).splitlines()
    except ValueError as error:
        faults.append(f"{error}.")


def classes_of(model: ModelConfig, objective: ObjectiveConfig) -> dict[str, str]:
    """Return section -> ``module:Class`` of the parts whose names don't tell their class."""
    names = ((MODEL, model.kind), (OBJECTIVE, objective.name))
    found = {place.section: place.registry.class_of(name) for place, name in names}
    return {section: part for section, part in found.items() if part is not None}


def saved_parts(
    model: Mapping[str, Any], objective: Mapping[str, Any], classes: Any
) -> tuple[ModelConfig, ObjectiveConfig]:
    """Return the settings of a saved model, from this version or an earlier one.

    Args:
        model, objective: as saved.
        classes: what `classes_of` returned; a section without a class may have any of its name.

    Raises:
        ConfigError: a part is not there, or its name has another class here.
        ValueError: values that are not valid.
    """
    for what, values in (("model", model), ("objective", objective)):
        if not isinstance(values, Mapping):
            raise ValueError(f"the settings of the {what} must be a table, got {values!r}")
    text = isinstance(classes, Mapping) and all(isinstance(one, str) for one in classes.values())
    if not text or not set(classes) <= {MODEL.section, OBJECTIVE.section}:
        raise ValueError(f"the classes of parts must be the text of one by its section, got {classes!r}")
    given = _current({"model": dict(model), "objective": dict(objective), "training": {}}, warn=False)
    made = []
    for place in (MODEL, OBJECTIVE):
        values = given[place.section]
        name = values.setdefault(place.key, place.registry.default)
        if name not in place.registry:
            raise place.registry.unknown(name, f"'{place.section}.{place.key}'", saved=True)
        saved, here = classes.get(place.section), place.registry.class_of(name)
        # a script's class may have moved to a module since
        if saved is not None and saved not in (here, f"__main__:{str(here).partition(':')[2]}"):
            raise ConfigError(
                f"'{place.section}.{place.key}' must be the {place.registry.kind} {name!r} that the model "
                f"was trained with, {saved}; got {here or 'a built-in class'} under this name: register "
                f"{saved} as {name!r} instead"
            )
        made.append(place.part(name).Config.model_validate(place.read(name, values)))
    return made[0], made[1]


def _current(given: dict[str, dict[str, Any]], *, warn: bool) -> dict[str, dict[str, Any]]:
    """Move settings to their present sections, and say what the towers are where only ``hidden`` did."""
    for old, new in MOVED.items():
        (section, name), (home, current) = old.split("."), new.split(".")
        if name in given[section]:
            if warn:
                renamed_warning(old, new)
            given[home][current] = given[section].pop(name)
    model = given["model"]
    if "hidden" in model and "kind" not in model:
        model["kind"] = _kind_before(given)
        if warn:
            warnings.warn(
                f"model.hidden without model.kind means model.kind = '{model['kind']}' in this version and "
                "is an error in the next; set model.kind",
                RenamedWarning,
                stacklevel=5,
            )
        if model["kind"] == MODEL.registry.default or model["hidden"] == AUTO:
            del model["hidden"]
    return given


def _kind_before(given: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the kind of towers where only ``hidden`` says it, as it was before there was ``model.kind``.

    Without hidden layers they were linear. "auto" was linear if the objective could be solved in closed form
    and no setting said otherwise.
    """
    linear, layered = MODEL.registry.default, MODEL.owners("hidden")[0]
    if given["model"]["hidden"] != AUTO:
        return layered if given["model"]["hidden"] else linear
    name = given["objective"].get("name", OBJECTIVE.registry.default)
    solvable = bool(OBJECTIVE.part(name).Config.quadratic)
    if not solvable or given["model"].get("normalise"):
        return layered
    own = set(MODEL.registry.get(layered).Config.model_fields)
    of_trained = {
        "model": own - set(ModelConfig.model_fields) - {"hidden"},
        "training": set(TRAINING.fields()) - set(TrainingConfig.model_fields),
    }
    changed = any(
        given[place.section][key] != place.fields()[key].default
        for place in (MODEL, TRAINING)
        for key in of_trained[place.section] & set(given[place.section])
    )
    return layered if changed else linear
