"""A team whose workers are objects of this process, which can be lost when a test wants it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

from twotower.distributed.block import Block
from twotower.distributed.team import LostWorkerError, Team
from twotower.training import Trainer, TrainingTask
from twotower.training.engine import Engine


class LocalTeam(Team):
    """Calls blocks at once. What is sent is pickled, as between processes.

    Args:
        size: number of workers.
        losses: numbers of the calls at which a worker is lost.
        room: workers that there is room for, once one is lost.
    """

    def __init__(self, size: int, losses: tuple[int, ...] = (), room: int | None = None) -> None:
        self.size, self.losses, self.room, self.calls = size, losses, room or size, 0
        self.blocks: list[Any] = []
        self.received: list[int] = []

    def start(self, kind: type[Block]) -> None:
        self.blocks = [kind() for _ in range(self.size)]
        self.generation += 1

    def host(self, worker: int) -> str:
        return "127.0.0.1"

    def call(self, worker: int, method: str, *args: Any) -> Any:
        self.calls += 1
        if self.calls in self.losses:
            self.blocks[worker] = None
        block = self.blocks[worker]
        if block is None or any(isinstance(arg, LostWorkerError) for arg in args):
            return LostWorkerError("it was killed")
        sent = pickle.dumps(args)
        self.received.append(len(sent))
        return getattr(block, method)(*pickle.loads(sent))

    def call_many(self, worker: int, method: str, *args: Any) -> list[Any]:
        found = self.call(worker, method, *args)
        return [found] * self.size if isinstance(found, LostWorkerError) else found

    def get(self, references: list[Any]) -> list[Any]:
        for reference in references:
            if isinstance(reference, LostWorkerError):
                raise reference
        return references

    def hear(self) -> None:
        pass  # they warn in this process

    def revive(self) -> str:
        self.size, self.generation = self.room, self.generation + 1
        return "replaced"


class LocalEngine(Engine):
    """Does the work in this process, with what is sent and returned pickled, as between processes."""

    workers = 3
    calls = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *of: object) -> None:
        pass

    def check(self, *of: object) -> None:
        pass

    def trainer(self, kind: type[Trainer], task: TrainingTask, config: Any) -> Trainer:
        return kind(task, config)

    def map(self, function: Any, shared: Any, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.calls += 1
            function_there, shared_there, item_there = pickle.loads(pickle.dumps((function, shared, item)))
            yield pickle.loads(pickle.dumps(function_there(shared_there, item_there)))
