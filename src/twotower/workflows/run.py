"""A run directory: its files, its state, and whether training may write to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Literal

from twotower.config import Config, differences, dump_config, load_config
from twotower.config.renamed import current_metrics
from twotower.core.atomic import check_folder, disk_errors, write_text
from twotower.core.urls import is_url, without_secrets
from twotower.errors import BundleError, ConfigError, nearest
from twotower.recommender import Recommender
from twotower.recommender.bundle import MANIFEST, read_facts

_PARTS = (
    "config.toml",
    "bundle",
    "checkpoints",
    "history.jsonl",
    "metrics.json",
    "report.html",
    "baselines.json",
)

EVENTS = "events"
"""Key of the results that names the file of later interactions."""
State = Literal["new", "begun", "finished"]


@dataclass(frozen=True)
class Run:
    """The directory of one run; its files need not exist yet."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The config, with every default filled in."""
        return self.path / "config.toml"

    @property
    def bundle(self) -> Path:
        """The saved recommender."""
        return self.path / "bundle"

    @property
    def checkpoints(self) -> Path:
        """The state of training after its last epoch."""
        return self.path / "checkpoints"

    @property
    def history_file(self) -> Path:
        """One line per epoch."""
        return self.path / "history.jsonl"

    @property
    def metrics_file(self) -> Path:
        """The results; written last, so it marks a finished run."""
        return self.path / "metrics.json"

    @property
    def report_file(self) -> Path:
        """The report, if `twotower report` has written one."""
        return self.path / "report.html"

    @property
    def baselines_file(self) -> Path:
        """Settings of baselines tuned on the run's data, if any."""
        return self.path / "baselines.json"

    @classmethod
    def finished(cls, path: str | Path) -> Run:
        """Return the finished run in a directory.

        Raises:
            ConfigError: there is none, or it is not finished.
        """
        run = cls(Path(path).expanduser())
        if run.state() == "finished":
            return run
        if run.path.is_file():
            raise ConfigError(
                f"a run is a directory, {run.path} is a file; use the directory that `twotower train` wrote"
            )
        if (run.path / MANIFEST).exists():
            whole = f"; name the run: {run.path.parent}" if cls(run.path.parent).state() == "finished" else ""
            raise ConfigError(f"{run.path} is a bundle, not a run{whole}")
        if run.config_file.exists() and not run.foreign():
            raise ConfigError(
                f"the run in {run.path} is not finished; resume it with "
                f"`twotower train CONFIG --out {run.path} --resume`"
            )
        if within := run.runs_within():
            raise ConfigError(
                f"{run.path} contains several runs; choose one: " + ", ".join(str(one) for one in within)
            )
        beside = run.path.parent.iterdir() if run.path.parent.is_dir() else iter(())
        hint = nearest(run.path.name, [other.name for other in beside if cls(other).config_file.exists()])
        raise ConfigError(
            f"there is no run in {run.path}{'.' + hint + ' Make' if hint else '; make'} one with "
            f"`twotower train CONFIG --out {run.path}`"
        )

    def runs_within(self) -> list[Path]:
        """Return the directories of runs in this one, as the parent of several seeds or a tuning has them."""
        children = sorted(self.path.iterdir()) if self.path.is_dir() else []
        return [child for child in children if type(self)(child).config_file.exists()]

    def state(self) -> State:
        """Return the state of the run; it is new if there is no checkpoint, since nothing can be lost."""
        if self.metrics_file.exists():
            return "finished"
        return "begun" if self.has_checkpoint() else "new"

    def has_checkpoint(self) -> bool:
        """Return whether there is anything to resume from."""
        return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

    def foreign(self) -> list[str]:
        """Return the names of files in the directory that don't belong to a run."""
        names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        return [
            name
            for name in names
            if not any(fnmatch(name, own) for own in (*_PARTS, ".*", "events-*.parquet", "erased.jsonl"))
        ]

    def check(self, config: Config, *, resume: bool) -> State:
        """Check that training ``config`` into the directory overwrites nothing, and return the state.

        Raises:
            ConfigError: the directory contains a run and ``resume`` is not set, or other files; or
                there is no run to resume, or it was started with another config.
        """
        check_folder(self.path)
        state = self.state()
        if resume:
            if not self.config_file.exists():
                raise ConfigError(
                    f"there is no run to resume in {self.path}; leave out --resume to start one"
                )
            changed = differences(config, self.config())
            if changed:
                raise ConfigError(
                    "a run must be resumed with the config it was started with; this one differs (now, then "
                    f"in {self.config_file}): " + "; ".join(changed)
                )
            return state
        if state == "finished":
            raise ConfigError(
                f"{self.path} contains a finished run, which is not overwritten; choose another "
                "--out or delete it"
            )
        if state == "begun":
            raise ConfigError(
                f"{self.path} contains an unfinished run; continue it with --resume, choose another "
                "--out or delete it"
            )
        if foreign := self.foreign():
            raise ConfigError(
                f"--out must be a new or empty directory, or that of a run; {self.path} contains "
                f"{', '.join(foreign[:5])}; choose another"
            )
        return state

    def begin(self, config: Config) -> None:
        """Create the directory and write the config into it."""
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, dump_config(config))

    def config(self) -> Config:
        """Read the run's config, with the later interactions that its model was continued on.

        Results and events are written beside each other, and the results name the events: so both change at
        once.
        """
        found = load_config(self.config_file, saved=True)
        name = self.metrics().get(EVENTS) if self.metrics_file.exists() else None
        if not isinstance(name, str):
            return found
        events = str((self.path / Path(name).name).absolute())
        return found.model_copy(update={"data": found.data.model_copy(update={"events": events})})

    def recommender(self, *, index: bool | str = True) -> Recommender:
        """Load the run's recommender, with or without the index of `build_index`."""
        return Recommender.load(self.bundle, index=index)

    def check_output(self, out: str | Path | None) -> None:
        """Check that writing a table to ``out``, if any, does not overwrite the run's data.

        Raises:
            ConfigError: ``out`` is one of the data's tables, or a part of one.
        """
        if out is None:
            return
        config = self.config()
        given = [config.data.interactions, config.data.users, config.data.items]
        given += [
            path
            for path in (config.split.train, config.split.validation, config.split.test)
            if isinstance(path, str)
        ]
        target: PurePath
        path: PurePath
        for table in given:
            if table is None or is_url(table) != is_url(out):
                continue
            if is_url(table):
                target, path = PurePosixPath(without_secrets(str(out))), PurePosixPath(table)
            else:
                target, path = Path(out).expanduser().resolve(), Path(table).resolve()
            if target == path or path in target.parents or fnmatch(str(target), str(path)):
                raise ConfigError(
                    "--out must not be a table that the run was made from, got "
                    f"'{without_secrets(str(out))}'; give another name"
                )

    def index_note(self) -> str:
        """Return a line with the recall of the bundle's index against exact search."""
        index = read_facts(self.bundle)["index"]
        return (
            f"found by {index['kind']}: recall@{index['k']} {index['recall']:.4f} of the exact lists; "
            "--exact scores every item"
        )

    def metrics(self) -> dict[str, Any]:
        """Read the run's results."""
        try:
            values = json.loads(self.metrics_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"could not read {self.metrics_file}: {error}") from None
        assert isinstance(values, dict)
        if isinstance(values.get("ranking"), dict):
            values["ranking"] = current_metrics(values["ranking"])
        return values

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write the results; the run is then finished."""
        write_text(self.metrics_file, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
