"""`TunedSettings`: the tuned settings of a run's ranking baselines, so that nothing is tuned twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twotower import __version__
from twotower.baselines import RANKING_BASELINES
from twotower.config import Config
from twotower.core.atomic import write_text
from twotower.core.fingerprint import Fingerprint
from twotower.data.fingerprint import fingerprint
from twotower.data.splitting import Parts
from twotower.errors import BundleError, ConfigError
from twotower.workflows.stages import Log
from twotower.workflows.tuned_baselines import Choice

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass
class TunedSettings:
    """The chosen settings of baselines, in a file of the run.

    They depend on the data and the split, not on our model: a baseline fitted with them returns
    the same lists as one that was tuned again. They are not used for other data, another split, another
    rule for positives or another version of the package, nor if anything in the file has changed since it
    was written: a baseline with worse settings would make ours look better than it is.

    Attributes:
        path: of the file.
        key: fingerprint of everything that the settings depend on.
        choices: baseline -> its choice.
    """

    path: Path
    key: str
    choices: dict[str, Choice] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, config: Config, parts: Parts, log: Log) -> TunedSettings:
        """Read the file of a run; empty if there is none, or if it is for other data, which is logged."""
        found = cls(path, _key(config, parts))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["sha256"] != Fingerprint().json(content["tuned"]).hex():
                raise ValueError("it has changed since it was written")
            if content["key"] == found.key:
                found.choices = {name: _choice(name, of) for name, of in content["tuned"].items()}
                return found
        except FileNotFoundError:
            return found
        except (*_UNREADABLE, ConfigError) as error:
            log(f"note: the tuned baselines in {path} can't be read and are tuned again: {_reason(error)}")
            return found
        log(
            f"note: the baselines in {path} were tuned on other data, another split or by another "
            "version; they are tuned again"
        )
        return found

    def keep(self, name: str, choice: Choice, log: Log) -> None:
        """Add a baseline's choice and write the file; a failed write is logged."""
        self.choices[name] = choice
        tuned = {
            name: {
                "settings": of.baseline.settings(),
                "given": of.given,
                "worth": dict(of.worth),
                "tried": of.tried,
                "at_edge": list(of.at_edge),
            }
            for name, of in self.choices.items()
        }
        try:
            content = {"key": self.key, "sha256": Fingerprint().json(tuned).hex(), "tuned": tuned}
            write_text(self.path, json.dumps(content, indent=2) + "\n")
        except BundleError as error:
            log(f"note: the tuned settings of {name} could not be saved: {error}")


def _choice(name: str, found: Any) -> Choice:
    return Choice(
        RANKING_BASELINES[name](**found["settings"]),
        str(found["given"]),
        {given: float(worth) for given, worth in found["worth"].items()},
        int(found["tried"]),
        tuple(found["at_edge"]),
    )


def _key(config: Config, parts: Parts) -> str:
    """Return a hash of the data, the split, the settings that tuning reads, and the version."""
    settings = {
        "version": __version__,
        "data": fingerprint(parts),
        "seed": config.seed,
        "positive": config.positive.model_dump(mode="json"),
        "min_grade": config.objective.least_grade,
        "candidates": config.evaluation.candidates == "test_items",
        "exclude_seen": config.evaluation.exclude_seen,
    }
    return Fingerprint().json(settings).hex()


def _reason(error: Exception) -> str:
    """Return an error in words: one that Python raises says nothing of the file."""
    return str(error) if isinstance(error, OSError | ValueError) else "it is not such a file"
