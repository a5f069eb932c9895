"""`Tracking`: several trackers as one; a failing tracker never stops a training."""

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
from twotower.training import Callback, Interrupted, Record
from twotower.workflows.tracking.tracker import Status, TrackedRun, Tracker

Log = Callable[[str], None]
T = TypeVar("T")


@dataclass
class _Place:
    """A tracker and whether it has failed; a failed tracker is no longer called."""

    tracker: Tracker
    failed: bool = False


@dataclass
class Tracked:
    """One run in every tracker. A tracker that fails is no longer called, after one warning.

    Attributes:
        name: name of the run.
        runs: the trackers that have started it.
        warn: called with the warning.
        status: its final status if nothing is raised.
    """

    name: str
    runs: Sequence[tuple[_Place, TrackedRun]]
    warn: Log
    status: Status = "finished"

    def epochs(self) -> TrackedEpochs:
        """Return a callback that logs epochs."""
        return TrackedEpochs(self)

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log the finite numbers of a mapping; for a metric with an interval, its value."""
        numbers = _numbers(values)
        self._each(lambda run: run.log(numbers, step))

    def keep(self, *files: Path) -> None:
        """Store small files, if they exist."""
        for file in files:
            if file.is_file():
                self._each(lambda run, file=file: run.keep(file))  # type: ignore[misc]

    def end(self, status: Status) -> None:
        """End the run."""
        self._each(lambda run: run.end(status))

    def children(self) -> Tracking:
        """Return the tracking for child runs of this one."""
        return Tracking([place for place, _ in self.runs], self.warn, self)

    def of(self, place: _Place) -> TrackedRun | None:
        """Return the run in one tracker."""
        return next((run for mine, run in self.runs if mine is place), None)

    def _each(self, tell: Callable[[TrackedRun], None]) -> None:
        for place, run in self.runs:
            _guarded(place, self.warn, lambda run=run: tell(run))  # type: ignore[misc]


@dataclass(frozen=True)
class Tracking:
    """The trackers of a run; without trackers it does nothing.

    Attributes:
        places: the trackers.
        warn: called with one line if a tracker fails.
        parent: the parent of the runs started here.
    """

    places: Sequence[_Place] = ()
    warn: Log = field(default=lambda line: None)
    parent: Tracked | None = None

    @classmethod
    def to(cls, trackers: Sequence[Tracker], warn: Log) -> Tracking:
        """Return a tracking with some trackers."""
        return cls([_Place(tracker) for tracker in trackers], warn)

    @contextmanager
    def run(self, path: Path, parameters: Config | Mapping[str, Any]) -> Iterator[Tracked]:
        """Track a block of code as a run, including how it ends.

        If a top-level run can't be started, that is an error: the address is probably wrong and no work is
        lost yet. For a child run it is a warning.

        Args:
            path: the run's directory, which names it.
            parameters: its config, or values by ``section.key``.

        Raises:
            ConfigError: a tracker could not start the run.
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
                f"{place.tracker.kind} must be reachable to track a run there: {_reason(error)}. Correct the "
                "address after --track, or remove the option"
            ) from None


class TrackedEpochs(Callback):
    """Logs every epoch of a training; names include the phase, such as ``train/validation_rmse``."""

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
    """Call a tracker and catch whatever it raises.

    The first failure is reported; after that the tracker is not called any more and the result is None.
    """
    if place.failed:
        return None
    try:
        return tell()
    except Exception as error:
        place.failed = True
        warn(
            f"warning: tracking with {place.tracker.kind} failed and is now off: {_reason(error)}; the run "
            "itself continues"
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
    """Return ``section.key`` -> value for all settings of a config."""

    def walk(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{before}{key}.")
            else:
                yield f"{before}{key}", value

    return dict(walk(tomllib.loads(dump_config(config)), ""))


def _name(path: Path) -> str:
    """Return the name of a run's directory: its path from the working directory, or its last component."""
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
