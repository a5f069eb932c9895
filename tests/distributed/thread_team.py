"""A team whose workers are threads of this process: they wait for each other, and one runs at a time."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, BrokenBarrierError, Lock
from typing import Any

import pytest
import torch

from twotower.distributed import gradient_block
from twotower.distributed.block import Block
from twotower.distributed.team import LostWorkerError, Team

TURN = Lock()
"""Held by the thread that runs, since what compiled loops and random numbers share is not for several."""


class Room:
    """Where the threads of a group meet."""

    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size)
        self.values: list[Any] = [None] * size

    @contextmanager
    def together(self, rank: int, value: Any) -> Iterator[list[Any]]:
        """Wait until all have brought a value; yield all."""
        self.values[rank] = value
        self._wait()
        yield list(self.values)
        self._wait()

    def _wait(self) -> None:
        TURN.release()
        try:
            self.barrier.wait(60)
        except BrokenBarrierError:
            raise LostWorkerError("the connection between workers broke") from None
        finally:
            TURN.acquire()


class Meeting:
    """As in `twotower.distributed.group`; the place is a room that the test has opened."""

    place = "room"

    def __init__(self, host: str) -> None:
        del host


class ThreadTeam(Team):
    """Workers in threads; what is sent is pickled, as between processes.

    Args:
        size: number of workers.
        losses: numbers of the calls of a method, counted over all workers, at which one is lost.
        losing: that method.
    """

    def __init__(
        self,
        size: int,
        monkeypatch: pytest.MonkeyPatch,
        losses: tuple[int, ...] = (),
        losing: str = "step",
    ) -> None:
        self.size, self.losses, self.losing, self.calls = size, losses, losing, 0
        self.pools = [ThreadPoolExecutor(1) for _ in range(size)]
        self.room = Room(size)
        self.blocks: list[Any] = []
        team = self

        class ThreadGroup:
            """As in `twotower.distributed.group`."""

            def __init__(self, rank: int, size: int, *_: Any) -> None:
                self.rank, self.size, self.room = rank, size, team.room

            def add_up(self, values: torch.Tensor) -> None:
                with self.room.together(self.rank, values.clone()) as every:
                    values.copy_(torch.stack(every).sum(dim=0))

            def gathered(self, values: torch.Tensor) -> list[torch.Tensor]:
                with self.room.together(self.rank, values.clone()) as every:
                    return every

            def exchanged(self, parts: list[torch.Tensor], lengths: list[int]) -> list[torch.Tensor]:
                with self.room.together(self.rank, [part.clone() for part in parts]) as every:
                    got = [of[self.rank] for of in every]
                assert [len(part) for part in got] == lengths
                return got

        monkeypatch.setattr(gradient_block, "Group", ThreadGroup)
        monkeypatch.setattr(gradient_block, "Meeting", Meeting)

    def start(self, kind: type[Block]) -> None:
        self.blocks = [kind() for _ in range(self.size)]
        self.room = Room(self.size)
        self.generation += 1

    def host(self, worker: int) -> str:
        return "here"

    def call(self, worker: int, method: str, *args: Any) -> Future[Any]:
        self.calls += method == self.losing
        lost = method == self.losing and self.calls in self.losses
        block, room, sent = self.blocks[worker], self.room, pickle.dumps(args)

        def run() -> Any:
            if lost or room.barrier.broken:
                room.barrier.abort()
                raise LostWorkerError("it was killed")
            with TURN:
                return getattr(block, method)(*pickle.loads(sent))

        return self.pools[worker].submit(run)

    def call_many(self, worker: int, method: str, *args: Any) -> list[Any]:
        raise NotImplementedError

    def get(self, references: list[Future[Any]]) -> list[Any]:
        return [reference.result(120) for reference in references]

    def hear(self) -> None:
        pass  # they warn in this process

    def revive(self) -> str:
        self.generation += 1
        return "replaced"
