"""`Tracker` and `TrackedRun`: what a place where runs are kept has to be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

Status = Literal["finished", "pruned", "interrupted", "failed"]


class TrackedRun(ABC):
    """One run, begun by a `Tracker`. Whatever goes wrong is raised: `Tracking` sees to it."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Keep finite numbers: of an epoch, counted from 1, or with no step the results of the run.

        Names are made of letters, digits and ``_-./``.
        """

    @abstractmethod
    def keep(self, file: Path) -> None:
        """Keep a small file, or what it says."""

    @abstractmethod
    def end(self, status: Status) -> None:
        """The run is over."""


class Tracker(ABC):
    """A place where runs are kept.

    Attributes:
        kind: what it is called in ``--track``.
    """

    kind: ClassVar[str]

    @abstractmethod
    def begin(
        self, path: Path, name: str, parameters: Mapping[str, str], parent: TrackedRun | None
    ) -> TrackedRun:
        """Begin a run, or go on with the unfinished one of the same directory.

        Args:
            path: the run's directory, absolute.
            name: of the run: ``runs/first``; that of a part of another begins with the other's name.
            parameters: ``section.key`` -> value, as TOML would have it.
            parent: the run of this tracker that it is a part of.
        """
