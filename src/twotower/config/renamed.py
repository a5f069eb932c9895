"""Settings that have been renamed. For one version their old names are read too, with one warning."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any, Final

from twotower.errors import ConfigError, RenamedWarning

RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "model": {"feature_dim": "embedding_dim", "members": "ensemble_size"},
    "objective": {"unobserved": "unobserved_weight", "floor": "min_grade"},
}
"""Section -> old name -> new name."""

MOVED: Final[Mapping[str, str]] = {"model.id_dropout": "training.id_dropout"}
"""Settings that have moved to another section: old key -> new key."""

EARLIER_DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "model.dropout": (0.1,),
    "objective.negatives": (4096,),
    "objective.unobserved_weight": (0.2,),
    "training.learning_rate": (0.005,),
}
"""Defaults of earlier versions, which files that list every setting have for parts that they don't name."""

RENAMED_METRICS: Final[Mapping[str, str]] = {"popularity": "avg_popularity_percentile"}
"""Metrics that have been renamed, without ``@k``: old name -> new name."""


def renamed(section: str, values: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """Return a section's values under the current names.

    Args:
        section: such as ``model``.
        values: setting -> value, under old or current names.
        warn: whether an old name gives a `RenamedWarning`. Saved runs and bundles are read without one.

    Raises:
        ConfigError: a setting is given under both its names.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        current = RENAMED.get(section, {}).get(name, name)
        if current in found:
            old = next(key for key, new in RENAMED[section].items() if new == current)
            raise ConfigError(f"{section}.{old} is now called {section}.{current}; got both. Keep {current}")
        if current != name and warn:
            renamed_warning(f"{section}.{name}", f"{section}.{current}")
        found[current] = value
    return found


def current_keywords(values: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
    """Return keyword arguments of `TwoTower` under their current names, with a warning for old ones.

    Args:
        values: keyword -> value.
        others: current names that were passed as well.

    Raises:
        ConfigError: a setting is given under both its names.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        current = next((names[name] for names in RENAMED.values() if name in names), name)
        if current != name:
            if current in others:
                raise ConfigError(f"{name} is now called {current}; got both. Keep {current}")
            renamed_warning(name, current)
        found[current] = value
    return found


def current_key(key: str, *, warn: bool = True) -> str:
    """Return the current name of a setting such as ``objective.floor``."""
    if key in MOVED:
        if warn:
            renamed_warning(key, MOVED[key])
        return MOVED[key]
    section, _, name = key.partition(".")
    current = RENAMED.get(section, {}).get(name)
    if current is None:
        return key
    if warn:
        renamed_warning(key, f"{section}.{current}")
    return f"{section}.{current}"


def current_metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return saved metrics such as ``popularity@10`` under their current names."""
    split = ((name.partition("@"), value) for name, value in values.items())
    return {RENAMED_METRICS.get(name, name) + at + k if at else name: value for (name, at, k), value in split}


def renamed_warning(old: str, new: str) -> None:
    """Warn that a setting has a new name."""
    warnings.warn(
        f"{old} is now called {new}; the old name stops working in the next version",
        RenamedWarning,
        stacklevel=4,
    )
