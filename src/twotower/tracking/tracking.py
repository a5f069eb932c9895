"""`Tracking`: several trackers as one, none of which can stop a training."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twotower.config import Config, dump_config
from twotower.errors import ConfigError, TwoTowerError
from twotower.tracking.tracker import Status, TrackedRun, Tracker
from twotower.training import Callback, Interrupted, Record

Log = Callable[[str], None]
T = TypeVar("T")


@dataclass
class _Place:
    """A tracker, and whether it has failed: then nothing more is told to it."""

    tracker: Tracker
    failed: bool = False


@dataclass
class Tracked:
    """One run at every tracker. A tracker that fails is told nothing more, and one line says so.

    Attributes:
        name: of the run.
        runs: the trackers that have begun it.
        warn: told that line.
        status: what becomes of it where nothing is raised.
    """

    name: str
    runs: Sequence[tuple[_Place, TrackedRun]]
    warn: Log
    status: Status = "finished"

    def epochs(self) -> TrackedEpochs:
        """Return a callback that logs epochs."""
        return TrackedEpochs(self)

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Keep the finite numbers of a mapping; a metric with an interval is its value."""
        numbers = _numbers(values)
        self._each(lambda run: run.log(numbers, step))

    def keep(self, *files: Path) -> None:
        """Keep small files, those that are there."""
        for file in files:
            if file.is_file():
                self._each(lambda run, file=file: run.keep(file))  # type: ignore[misc]

    def end(self, status: Status) -> None:
        """End the run."""
        self._each(lambda run: run.end(status))

    def children(self) -> Tracking:
        """Return where runs are begun that are a part of this one."""
        return Tracking([place for place, _ in self.runs], self.warn, self)

    def of(self, place: _Place) -> TrackedRun | None:
        """Return the run at one tracker."""
        return next((run for mine, run in self.runs if mine is place), None)

    def _each(self, tell: Callable[[TrackedRun], None]) -> None:
        for place, run in self.runs:
            _guarded(place, self.warn, lambda run=run: tell(run))  # type: ignore[misc]


@dataclass(frozen=True)
class Tracking:
    """Where runs are told to; with no trackers it does nothing.

    Attributes:
        places: the trackers.
        warn: told one line of a tracker that has failed.
        parent: what the runs begun here are a part of.
    """

    places: Sequence[_Place] = ()
    warn: Log = field(default=lambda line: None)
    parent: Tracked | None = None

    @classmethod
    def to(cls, trackers: Sequence[Tracker], warn: Log) -> Tracking:
        """Return the tracking of some trackers."""
        return cls([_Place(tracker) for tracker in trackers], warn)

    @contextmanager
    def run(self, path: Path, parameters: Config | Mapping[str, Any]) -> Iterator[Tracked]:
        """Track what is done within the block, and how it ends.

        A first run that can't be begun is an error, since the address is probably wrong and nothing is lost
        yet. Of one within another it is a warning.

        Args:
            path: the run's directory, which names it.
            parameters: its config, or values by ``section.key``.

        Raises:
            ConfigError: a tracker could not begin the run.
        """
        values = _flat(parameters) if isinstance(parameters, Config) else dict(parameters)
        told = {key: value if isinstance(value, str) else str(value) for key, value in values.items()}
        path = Path(os.path.abspath(path))
        name = _name(path) if self.parent is None else f"{self.parent.name}/{path.name}"
        begun = ((place, self._begin(place, path, name, told)) for place in self.places)
        tracked = Tracked(name, [(place, run) for place, run in begun if run is not None], self.warn)
        try:
            yield tracked
        except (Interrupted, KeyboardInterrupt):
            tracked.end("interrupted")
            raise
        except BaseException:
            tracked.end("failed")
            raise
        tracked.end(tracked.status)

    def _begin(
        self, place: _Place, path: Path, name: str, parameters: Mapping[str, str]
    ) -> TrackedRun | None:
        if self.parent is not None:
            parent = self.parent.of(place)
            return _guarded(place, self.warn, lambda: place.tracker.begin(path, name, parameters, parent))
        try:
            return place.tracker.begin(path, name, parameters, None)
        except TwoTowerError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{place.tracker.kind} must be reachable to track a run there: {_reason(error)}. Mend the "
                "address after --track, or leave it out"
            ) from None


class TrackedEpochs(Callback):
    """Logs every epoch of a training, each number under its phase: ``train/validation_rmse``."""

    def __init__(self, tracked: Tracked) -> None:
        self._tracked = tracked

    def on_epoch_end(self, record: Record) -> None:
        """Log an epoch."""
        values = {
            f"{record['phase']}/{key}": value
            for key, value in record.items()
            if key not in ("phase", "epoch", "best")
        }
        self._tracked.log(values, int(record["epoch"]))


def _guarded(place: _Place, warn: Log, tell: Callable[[], T]) -> T | None:
    """Do something at a tracker, and let nothing that it raises through.

    What it raises is told once; from then on it is asked nothing, and the answer is None.
    """
    if place.failed:
        return None
    try:
        return tell()
    except Exception as error:
        place.failed = True
        warn(
            f"warning: tracking by {place.tracker.kind} has failed and is off from here: {_reason(error)}; "
            "the run itself goes on"
        )
        return None


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for key, value in values.items():
        number = value.get("value") if isinstance(value, Mapping) else value
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
            found[key.replace("@", "_at_")] = float(number)
    return found


def _flat(config: Config) -> dict[str, Any]:
    """Return ``section.key`` -> value of all that a config says."""

    def walk(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{before}{key}.")
            else:
                yield f"{before}{key}", value

    return dict(walk(tomllib.loads(dump_config(config)), ""))


def _name(path: Path) -> str:
    """Return what a run's directory is called: its path from the working directory, or its name."""
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
