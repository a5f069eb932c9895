"""The directory of a tuning: its files, and whether a search may write to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.config import Config, differences, dump_config, load_config
from twotower.core.atomic import check_folder, disk_errors, write_text
from twotower.errors import BundleError, ConfigError
from twotower.workflows.tuning.space import Space, current_names

_PARTS = ("given.toml", "space.toml", "study.db", "scores")  # files of a tuning killed at its start


@dataclass(frozen=True)
class TuneFolder:
    """The directory of a tuning; its files need not exist yet."""

    path: Path

    @property
    def given_file(self) -> Path:
        """The original config, with every default filled in."""
        return self.path / "given.toml"

    @property
    def space_file(self) -> Path:
        """The search space."""
        return self.path / "space.toml"

    @property
    def study_file(self) -> Path:
        """The trials."""
        return self.path / "study.db"

    @property
    def scores(self) -> Path:
        """Each user's contribution to each trial's value."""
        return self.path / "scores"

    @property
    def best_file(self) -> Path:
        """The best config."""
        return self.path / "best.toml"

    @property
    def picture_file(self) -> Path:
        """A chart of the trials."""
        return self.path / "history.svg"

    @property
    def result_file(self) -> Path:
        """The result; written last, so it marks a finished tuning."""
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
        """Check that tuning into the directory overwrites nothing.

        Raises:
            ConfigError: the directory has content and ``resume`` is not set; or it was started with another
                config or space, or there is nothing to resume.
        """
        check_folder(self.path)
        started = self.given_file.exists() and self.study_file.exists()
        if not resume:
            names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
            if self.result_file.exists():
                raise ConfigError(
                    f"{self.path} contains a finished tuning, which is not overwritten; choose another --out "
                    "or delete the directory"
                )
            if started:
                raise ConfigError(
                    f"{self.path} contains an unfinished tuning; continue it with --resume, choose another "
                    "--out, or delete the directory"
                )
            if foreign := [name for name in names if name not in _PARTS and not name.startswith(".")]:
                raise ConfigError(
                    f"--out must be a new or empty directory; {self.path} contains "
                    f"{', '.join(foreign[:5])}. Choose another"
                )
            return
        if not started:
            raise ConfigError(
                f"there is no tuning to resume in {self.path}; run without --resume to start one"
            )
        if changed := differences(config, load_config(self.given_file, saved=True)):
            raise ConfigError(
                "a tuning must be resumed with the config it was started with; this one differs (now, then "
                f"in {self.given_file}): " + "; ".join(changed)
            )
        if current_names(self.space_file.read_text(encoding="utf-8")) != space.dump():
            raise ConfigError(
                "a tuning must be resumed with the space it was started with; this one differs. "
                f"Use --space {self.space_file}"
            )

    def begin(self, config: Config, space: Space) -> None:
        """Create the directory and write the config and the space into it."""
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.given_file, dump_config(config))
        write_text(self.space_file, space.dump())
