"""The directory of a tuning: what is in it, and who may write to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.atomic import disk_errors, write_text
from twotower.config import Config, differences, dump_config, load_config
from twotower.errors import BundleError, ConfigError
from twotower.tuning.space import Space, current_names

_PARTS = ("given.toml", "space.toml", "study.db", "scores")  # what a tuning that was killed at once may leave


@dataclass(frozen=True)
class TuneFolder:
    """The directory of a tuning; none of its files need be there yet."""

    path: Path

    @property
    def given_file(self) -> Path:
        """The config that was given, with nothing left to defaults."""
        return self.path / "given.toml"

    @property
    def space_file(self) -> Path:
        """What was searched."""
        return self.path / "space.toml"

    @property
    def study_file(self) -> Path:
        """The trials."""
        return self.path / "study.db"

    @property
    def scores(self) -> Path:
        """What each user adds to each trial's value."""
        return self.path / "scores"

    @property
    def best_file(self) -> Path:
        """The best config."""
        return self.path / "best.toml"

    @property
    def picture_file(self) -> Path:
        """The trials as a picture."""
        return self.path / "history.svg"

    @property
    def result_file(self) -> Path:
        """The result; written last, so that a tuning with it is finished."""
        return self.path / "tune.json"

    def result(self) -> dict[str, Any]:
        """Read the result of a finished tuning."""
        try:
            values = json.loads(self.result_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"could not read {self.result_file}: {error}") from None
        assert isinstance(values, dict)
        return values

    def check(self, config: Config, space: Space, *, resume: bool) -> None:
        """Make sure that tuning into the directory destroys nothing.

        Raises:
            ConfigError: it holds something already and ``resume`` is not set; or what is there was begun with
                another config or space, or there is nothing to go on with.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"--out must be a directory, {self.path} is a file; choose another")
        begun = self.given_file.exists() and self.study_file.exists()
        if not resume:
            names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
            if self.result_file.exists():
                raise ConfigError(
                    f"{self.path} holds a finished tuning, which is not overwritten; choose another --out, "
                    "or delete it"
                )
            if begun:
                raise ConfigError(
                    f"{self.path} holds an unfinished tuning; go on with --resume, choose another --out, or "
                    "delete it"
                )
            if foreign := [name for name in names if name not in _PARTS and not name.startswith(".")]:
                raise ConfigError(
                    f"--out must be a new or empty directory; {self.path} holds {', '.join(foreign[:5])}; "
                    "choose another"
                )
            return
        if not begun:
            raise ConfigError(f"there is no tuning to resume in {self.path}; leave --resume out to begin one")
        if changed := differences(config, load_config(self.given_file, saved=True)):
            raise ConfigError(
                "a tuning is resumed with the config it was begun with; this one differs (here, then in "
                f"{self.given_file}): " + "; ".join(changed)
            )
        if current_names(self.space_file.read_text(encoding="utf-8")) != space.dump():
            raise ConfigError(
                f"a tuning is resumed with the space it was begun with, {self.space_file}; this one differs. "
                f"Go on with --space {self.space_file}"
            )

    def begin(self, config: Config, space: Space) -> None:
        """Make the directory and write what is searched into it."""
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.given_file, dump_config(config))
        write_text(self.space_file, space.dump())
