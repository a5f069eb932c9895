"""`Team`: workers that hold a block each, and answer calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from twotower.distributed.block import Block


class LostWorkerError(Exception):
    """A worker, or something that only it had, is lost: what was asked must be done again."""


class Team(ABC):
    """Workers, numbered from 0, with a block each. What they return stays where it is until it is asked for.

    A returned value is a reference, which can be an argument of other calls.
    """

    size: int
    """Number of workers; fewer after `revive` if some can't be replaced."""
    generation: int = 0
    """Counts what `start` and `revive` have done: blocks of an earlier one may be lost."""

    @abstractmethod
    def start(self, kind: type[Block]) -> None:
        """Give every worker a new, empty block."""

    @abstractmethod
    def host(self, worker: int) -> str:
        """Return the address at which other workers reach the machine of a worker."""

    @abstractmethod
    def call(self, worker: int, method: str, *args: Any) -> Any:
        """Call a method of a block and return a reference to its result."""

    @abstractmethod
    def call_many(self, worker: int, method: str, *args: Any) -> list[Any]:
        """Call a method that returns a list with an entry for each worker; return references to these."""

    @abstractmethod
    def get(self, references: list[Any]) -> list[Any]:
        """Wait for values and return them.

        Raises:
            LostWorkerError: a worker is lost.
        """

    @abstractmethod
    def hear(self) -> None:
        """Warn here of what workers have warned of."""

    @abstractmethod
    def revive(self) -> str:
        """Replace the workers that are lost, which then have no block; return in words what was done."""
