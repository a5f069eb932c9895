"""`Engine`: where the work is done, if not in this process alone, such as on a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from twotower.config import ModelConfig, ObjectiveConfig
from twotower.training.trainer import Trainer, TrainingTask

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Does the work on other processes or machines. Used with ``with``; a second ``with`` inside is free."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Number of processes that work at the same time."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def check(self, kind: type[Trainer], model: ModelConfig, objective: ObjectiveConfig) -> None:
        """Raise `ConfigError` if it can't train by such a trainer; the message says what it can."""

    @abstractmethod
    def trainer(self, kind: type[Trainer], task: TrainingTask, config: Any) -> Trainer:
        """Return the trainer that does the work of one of ``kind`` here."""

    @abstractmethod
    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(shared, item)`` for each item, in their order.

        A call whose process dies is repeated, so it must be safe to do it twice.

        Args:
            function: at the top of a module, as the other processes import it.
            shared: sent once to each machine, and not again while it is the same object as in the last
                call.
            items: one for each call.
        """
