"""A team whose workers are objects of this process, which can be lost when a test wants it."""

from __future__ import annotations

import pickle
from typing import Any

from twotower.distributed.block import Block
from twotower.distributed.team import LostWorkerError, Team


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

    def revive(self) -> str:
        self.size, self.generation = self.room, self.generation + 1
        return "replaced"
