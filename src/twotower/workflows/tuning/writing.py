"""``best.toml``: the best config; a comment on each changed value gives the original one."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import tomlkit

from twotower.config import Config, dump_config

_WIDTH = 100


def changes(given: Config, other: Config) -> dict[str, list[Any]]:
    """Return ``section.key`` -> its values in the two configs, for every key that differs."""
    found: dict[str, list[Any]] = {}
    for section in ("model", "objective", "training"):
        before = getattr(given, section).model_dump(mode="json")
        after = getattr(other, section).model_dump(mode="json")
        found |= {
            f"{section}.{key}": [before[key], after[key]] for key in before if before[key] != after[key]
        }
    return found


def best_toml(best: Config, given: Config, says: Sequence[str]) -> str:
    """Return a config as TOML, with comments on the changed values.

    Args:
        best: the config.
        given: the original config.
        says: comment lines for the top.
    """
    document = tomlkit.parse(dump_config(best))
    for key, (before, _) in changes(given, best).items():
        section, name = key.split(".")
        was = "none" if before is None else before
        document[section][name].comment(f"was {json.dumps(was)}")
    head = [f"# {part}" for line in says for part in textwrap.wrap(line, _WIDTH)]
    return "\n".join([*head, tomlkit.dumps(document)])
