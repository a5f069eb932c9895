"""`Space`: the settings that `tune` searches, with their values. Read from TOML, or the default of a task.

A list gives choices, a table a range::

    [model]
    dim = [32, 64, 128]
    [training]
    learning_rate = { low = 0.001, high = 0.03, log = true }

A parameter that only some objectives have is drawn only for those.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from tomlkit.items import InlineTable

from twotower.config import Config, with_values
from twotower.config.parts import OBJECTIVE, PLACES, trainer_of
from twotower.config.renamed import current_key
from twotower.errors import ConfigError, nearest
from twotower.estimator.setup import settled
from twotower.towers.registry import TOWERS
from twotower.training.registry import TRAINERS

_UNITS = ("objective.transform", "objective.cap")
"""They change the unit of the validation error."""
_SPAN_KEYS = {"low", "high", "log"}


@dataclass(frozen=True)
class Choices:
    """A choice among values, as TOML represents them."""

    values: tuple[Any, ...]

    def including(self, value: Any) -> Choices:
        """Return these choices with a value added if it is not among them."""
        return self if self.holds(value) else Choices((value, *self.values))

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of the choices."""
        return any(_same(one, value) for one in self.values)

    def place(self, value: Any) -> int:
        """Return the position of a value."""
        return next(place for place, one in enumerate(self.values) if _same(one, value))

    def examples(self) -> tuple[Any, ...]:
        """Return values that must be valid for all to be."""
        return self.values

    def toml(self) -> Any:
        """Return the TOML form."""
        return list(self.values)


@dataclass(frozen=True)
class Span:
    """Any number from ``low`` to ``high``, uniform or, with ``log``, log-uniform."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def including(self, value: Any) -> Span:
        """Return the range, extended if needed to include a number.

        A number that can't be included (0 with ``log``, a fraction among whole numbers) leaves it unchanged.
        """
        if not isinstance(value, int | float) or isinstance(value, bool) or (self.log and value <= 0):
            return self
        if self.whole and not isinstance(value, int):
            return self
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def holds(self, value: Any) -> bool:
        """Return whether a value lies in the range."""
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (not self.whole or isinstance(value, int))
        )

    def examples(self) -> tuple[Any, ...]:
        """Return values that must be valid for all to be."""
        return (self.low, self.high)

    def toml(self) -> Any:
        """Return the TOML form."""
        table: InlineTable = tomlkit.inline_table()
        table.update({"low": self.low, "high": self.high, **({"log": True} if self.log else {})})
        return table


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        parameters: ``section.key`` -> the values it may take.
        config: its towers and its trainer decide which parameters an objective has; None before `around`.
    """

    parameters: Mapping[str, Choices | Span]
    config: Config | None = None

    def items_for(self, objective: str) -> Iterator[tuple[str, Choices | Span]]:
        """Yield the parameters of an objective, except its name."""
        for key, domain in self.parameters.items():
            if key != "objective.name" and self.has(key, objective):
                yield key, domain

    def has(self, key: str, objective: str) -> bool:
        """Return whether a model of an objective has a parameter."""
        section, name = key.split(".")
        if section == "objective":
            has = name in OBJECTIVE.part(objective).Config.model_fields
            return has and (self.config is None or name not in _unread_by(self.config, objective))
        if self.config is None:
            return True
        if section == "model":
            return name in type(self.config.model).model_fields
        return name in TRAINERS.get(_trainer(self.config, objective)).Config.model_fields

    def around(self, config: Config) -> Space:
        """Return the space, extended to include the config's own values.

        Raises:
            ConfigError: a value can't be included, such as 0 in a log-uniform range.
        """
        given = given_values(config, self)
        parameters = dict(self.parameters)
        for key, value in given.items():
            parameters[key] = parameters[key].including(value)
            if not parameters[key].holds(value):
                raise ConfigError(
                    f"a space must include the config's own values, which are the first trial; {key} is "
                    f"{value!r} and the space has {self.parameters[key].toml()}. Change one, or remove the "
                    "key"
                )
        return replace(self, parameters=parameters, config=config)

    def dump(self) -> str:
        """Return the space as TOML that `read_space` reads."""
        document = tomlkit.document()
        for key, domain in self.parameters.items():
            section, name = key.split(".")
            if section not in document:
                document.add(section, tomlkit.table())
            document[section][name] = domain.toml()
        return tomlkit.dumps(document)


def given_values(config: Config, space: Space) -> dict[str, Any]:
    """Return a config's own values of the parameters of a space, with every "auto" resolved.

    Parameters that its objective does not have are left out.
    """
    parts = settled(config.model, config.objective, config.training)
    model = TOWERS.get(parts.model.kind).settled(parts.model, np.empty(0, np.int64))
    training = TRAINERS.get(config.trainer).first_tried(parts.training)
    decided = config.model_copy(update=vars(replace(parts, model=model, training=training)))
    keys = ("objective.name", *(key for key, _ in space.items_for(config.objective.name)))
    return {key: _value(decided, key) for key in keys if key in space.parameters}


def default_space(config: Config, *, labelled: bool) -> Space:
    """Return the default space: sizes, regularisation, and the objective's parameters.

    Args:
        config: its objective decides which parameters there are.
        labelled: whether interactions have labels.
    """
    objective = config.objective
    searched = {
        "model": config.model.searched,
        "training": TRAINERS.get(config.trainer).searched(objective),
        "objective": objective.searched,
    }
    parameters = {
        f"{section}.{name}": _domain(values, f"{section}.{name}")
        for section, settings in searched.items()
        for name, values in settings.items()
        if labelled or name not in objective.needs_labels
    }
    parameters = {
        key: domain for key, domain in parameters.items() if Space({}, config).has(key, objective.name)
    }
    given = given_values(config, Space(parameters, config))
    kept = {
        key: domain
        for key, domain in parameters.items()
        # 0 (no regularisation, say) is deliberate, and a log-uniform range can't include it
        if key not in given or domain.including(given[key]).holds(given[key])
    }
    return Space(kept, config)


def read_space(path: str | Path, config: Config) -> Space:
    """Read a space from TOML; only the keys it names are searched.

    Args:
        path: the file.
        config: the original config; every bound and choice must be valid in it.

    Raises:
        ConfigError: the file is not a valid space.
    """
    path = Path(path).expanduser()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"could not read the space {path}: {error.strerror or error}") from None
    parameters: dict[str, Choices | Span] = {}
    for section, keys in values.items():
        if section not in PLACES:
            raise ConfigError(
                f"{path}: a space has the sections {', '.join(PLACES)}; got '{section}'."
                f"{nearest(section, PLACES)} Other sections can't be searched."
            )
        if not isinstance(keys, dict):
            raise ConfigError(f"{path}: '{section}' must be a section; write [{section}] above its keys")
        for name, value in keys.items():
            parameters[current_key(f"{section}.{name}")] = _domain(value, f"{path}: {section}.{name}")
    if not parameters:
        raise ConfigError(
            f"{path}: a space must name at least one key to search; --show-space prints an example"
        )
    return _checked(Space(parameters, config), config, str(path))


def current_names(text: str) -> str:
    """Return a saved space, the TOML of `Space.dump`, under the current names of settings."""
    document = tomlkit.parse(text)
    for section, keys in document.items():
        for name in list(keys):
            current = current_key(f"{section}.{name}", warn=False).partition(".")[2]
            if current != name:
                text = text.replace(f"\n{name} = ", f"\n{current} = ")
    return text


def _domain(value: Any, where: str) -> Choices | Span:
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"{where} must have at least one choice; got an empty list")
        distinct = Choices(())
        for one in reversed(value):
            distinct = distinct.including(one)
        return distinct
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= _SPAN_KEYS:
        raise ConfigError(
            f"{where} must be a list of choices or {{ low = ..., high = ..., log = true }}; got {value!r}"
        )
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = (isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
    if not all(numbers) or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{where}: low must be a number below high; got {low!r} and {high!r}")
    if not isinstance(log, bool) or (log and low <= 0):
        raise ConfigError(
            f"{where}: log must be true or false, and true needs low above 0; got log {log!r}, low {low!r}"
        )
    return Span(low, high, log)


def _checked(space: Space, config: Config, name: str) -> Space:
    """Check that every bound and choice is valid and has an effect.

    Returns:
        The space with each value in the type of its key: 4.0 if 4 was written for a float.
    """
    for key in _UNITS:
        if key in space.parameters:
            raise ConfigError(
                f"{name}: {key} can't be searched, since it changes the unit of the error; set it in the "
                "config"
            )
    names = space.parameters.get("objective.name", Choices((config.objective.name,)))
    if not isinstance(names, Choices):
        raise ConfigError(f"{name}: objective.name must be a list of objectives")
    for one in names.values:
        if OBJECTIVE.registry.get(one).Config.implicit != config.objective.implicit:
            task = "rank" if config.objective.implicit else "predict labels"
            raise ConfigError(
                f"{name}: objectives to choose among must all {task}, as the config's "
                f"'{config.objective.name}' does; got {one!r}"
            )
    typed: dict[str, Choices | Span] = {}
    for key, domain in space.parameters.items():
        # each value is validated with an objective that uses it
        reader = next((one for one in names.values if key == "objective.name" or space.has(key, one)), None)
        if reader is None:
            raise ConfigError(f"{name}: {_unread(key, config, names)}. Remove it")
        values = [
            _value(
                with_values(
                    config, {"objective.name": reader, key: value}, f"{name}, {key} = {json.dumps(value)}"
                ),
                key,
            )
            for value in domain.examples()
        ]
        typed[key] = (
            Choices(tuple(values)) if isinstance(domain, Choices) else Span(values[0], values[1], domain.log)
        )
    return replace(space, parameters=typed)


def _unread(key: str, config: Config, names: Choices) -> str:
    """Return why a parameter would have no effect."""
    section, setting = key.split(".")
    place = PLACES[section]
    readers = place.owners(setting)
    if not readers:
        return f"there is no setting {key}.{nearest(setting, place.fields())}"
    trainers = dict.fromkeys(_trainer(config, one) for one in names.values)
    if section == "objective" and all(setting in _unread_by(config, one) for one in names.values):
        return f"{key} has no effect with trainer {', '.join(trainers)}"
    has = {
        "objective": names.values,
        "model": (config.model.kind,),
        "training": trainers,
    }
    return (
        f"{key} applies to {place.registry.kind} {' and '.join(readers)}; this space has "
        f"{', '.join(has[section])}. To search it, set {section}.{place.key} = '{readers[0]}' in the config"
    )


def _trainer(config: Config, objective: str) -> str:
    """Return the name of the trainer that an objective has with the config's towers."""
    return trainer_of(config.model, _settings(objective), config.training)


def _unread_by(config: Config, objective: str) -> Collection[str]:
    """Return the settings of an objective that its trainer does not read."""
    found: Collection[str] = TRAINERS.get(_trainer(config, objective)).unread(_settings(objective))
    return found


def _settings(objective: str) -> Any:
    return OBJECTIVE.part(objective).Config.model_construct(name=objective)


def _value(config: Config, key: str) -> Any:
    section, name = key.split(".")
    value = getattr(config, section).model_dump(mode="json")[name]
    return "none" if value is None else value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
