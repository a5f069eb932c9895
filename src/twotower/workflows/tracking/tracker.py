"""`Tracker` and `TrackedRun`: the interface of an experiment tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

Status = Literal["finished", "pruned", "interrupted", "failed"]


class TrackedRun(ABC):
    """One run, started by a `Tracker`. Errors are raised: `Tracking` handles them."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Log finite numbers: of an epoch (counted from 1), or without a step the results of the run.

        Names consist of letters, digits and ``_-./``.
        """

    @abstractmethod
    def keep(self, file: Path) -> None:
        """Store a small file or its content."""

    @abstractmethod
    def end(self, status: Status) -> None:
        """End the run."""


class Tracker(ABC):
    """An experiment tracker.

    Attributes:
        kind: its name in ``--track``.
    """

    kind: ClassVar[str]

    @abstractmethod
    def begin(
        self, path: Path, name: str, parameters: Mapping[str, str], parent: TrackedRun | None
    ) -> TrackedRun:
        """Start a run, or resume the unfinished one of the same directory.

        Args:
            path: the run's directory, absolute.
            name: name of the run, such as ``runs/first``; a child run's name starts with its parent's.
            parameters: ``section.key`` -> value, as in TOML.
            parent: the parent run in this tracker, if any.
        """
