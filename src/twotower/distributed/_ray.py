"""`RayTeam`: a `Team` of Ray actors. The only module that imports Ray."""

from __future__ import annotations

import importlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numba
import torch

from twotower.core.warn import warn
from twotower.distributed.block import Block
from twotower.distributed.team import LostWorkerError, Team
from twotower.errors import MissingExtraError, TrainingError, TwoTowerError, TwoTowerWarning

READY = 120.0
"""Seconds that a worker may take to be placed and started, at first; a cluster may have to grow."""
AGAIN = 30.0
"""The same for one that replaces a lost one; then there is one worker less."""
RETRIES = 20
"""Lost workers in a row after which `RayTeam.map` gives up."""
AHEAD = 2
"""Results for each worker that are computed or kept before the first of them is fetched."""


@cache
def library() -> Any:
    """Return the library Ray, imported on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    # It works offline and reports to nobody; and workers have the priority of this process, not the lowest.
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_worker_niceness", "0")):
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError(
            "the engine ray needs the library Ray, which is not installed; install it with: pip install "
            "'twotower[ray]'"
        ) from None


def use_threads(cpus: int) -> None:
    """Let Numba and torch use so many threads in this process."""
    torch.set_num_threads(cpus)
    numba.set_num_threads(min(cpus, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


class _Actor:
    """A worker process: it holds a block and calls its methods."""

    def __init__(self, cpus: int) -> None:
        use_threads(cpus)
        self.told: list[tuple[type[Warning], str]] = []
        warnings.simplefilter("always", TwoTowerWarning)
        warnings.showwarning = self._tell
        self.block: Any = None
        self.placed: Any = None
        self.shared: Any = None

    def start(self, kind: type[Block]) -> None:
        self.block = kind()

    def apply(self, function: Callable[[Any, Any], Any], placed: list[Any], item: Any) -> Any:
        """Call a function with a shared value, which is fetched once, and an item."""
        if placed[0] != self.placed:
            self.placed, self.shared = placed[0], library().get(placed[0])
        return function(self.shared, item)

    def _tell(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        self.told.append((category, str(message)))

    def said(self) -> list[tuple[type[Warning], str]]:
        """Return the warnings since the last call."""
        told, self.told = self.told, []
        return told

    def host(self) -> str:
        return str(library().util.get_node_ip_address())

    def call(self, method: str, *args: Any) -> Any:
        return getattr(self.block, method)(*args)

    def call_many(self, method: str, *args: Any) -> Any:
        parts = getattr(self.block, method)(*args)
        return parts[0] if len(parts) == 1 else parts  # how Ray takes several results


class RayTeam(Team):
    """Actors on a cluster that this process is connected to.

    Args:
        size: how many.
        cpus: of each.

    Raises:
        TrainingError: the cluster has no place for them.
    """

    def __init__(self, size: int, cpus: int) -> None:
        self.size, self.cpus, self.generation = size, cpus, 0
        self.shared: tuple[Any, list[Any]] | None = None  # what `map` was last given, and where it is
        self.actors = [self._actor() for _ in range(size)]
        missing = self._missing(READY)
        if missing:
            self.stop()
            free = library().available_resources().get("CPU", 0)
            raise TrainingError(
                f"{size} workers of {cpus} CPUs each must find room on the cluster, and {len(missing)} did "
                f"not within {READY:.0f} seconds; {free:g} CPUs are free. Ask for fewer workers, or add nodes"
            )

    def _actor(self) -> Any:
        ray = library()
        return ray.remote(num_cpus=self.cpus, max_restarts=0)(_Actor).remote(self.cpus)

    def _missing(self, seconds: float) -> list[int]:
        """Return the workers that are lost or don't answer within some seconds."""
        ray = library()
        alive = {actor.__ray_ready__.remote(): worker for worker, actor in enumerate(self.actors)}
        done, _ = ray.wait(list(alive), num_returns=len(alive), timeout=seconds)
        for reference in done:
            try:
                ray.get(reference)
                del alive[reference]
            except ray.exceptions.RayError:
                pass
        return sorted(alive.values())

    def start(self, kind: type[Block]) -> None:
        """Give every worker a new block; see `Team`."""
        self.generation += 1
        self.get([actor.start.remote(kind) for actor in self.actors])

    def host(self, worker: int) -> str:
        """Return the address of a worker's machine; see `Team`."""
        return str(self.get([self.actors[worker].host.remote()])[0])

    def call(self, worker: int, method: str, *args: Any) -> Any:
        """Call a method of a block; see `Team`."""
        return self.actors[worker].call.remote(method, *args)

    def call_many(self, worker: int, method: str, *args: Any) -> list[Any]:
        """Call a method with a result for each worker; see `Team`."""
        found = self.actors[worker].call_many.options(num_returns=self.size).remote(method, *args)
        return found if self.size > 1 else [found]

    def get(self, references: list[Any]) -> list[Any]:
        """Wait for values; see `Team`. What fails first is raised first."""
        found: dict[Any, Any] = {}
        waiting = list(dict.fromkeys(references))
        while waiting:
            done, waiting = library().wait(waiting)
            found.update(zip(done, got(done), strict=True))
        return [found[reference] for reference in references]

    def revive(self) -> str:
        """Replace lost workers; see `Team`."""
        lost = self._missing(AGAIN)
        for worker in lost:
            library().kill(self.actors[worker])
            self.actors[worker] = self._actor()
        gone = self._missing(AGAIN)
        for worker in reversed(gone):
            library().kill(self.actors.pop(worker))
        if not self.actors:
            raise TrainingError(
                f"all {self.size} workers were lost and the cluster has no room for others; continue from "
                "the checkpoint once it has"
            )
        self.size, self.generation = len(self.actors), self.generation + 1
        return (
            f"{len(lost)} replaced"
            if not gone
            else f"{self.size} workers go on, as there is no room for more"
        )

    def map(self, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(shared, item)`` for each item, in order; again if its worker is lost."""
        ray = library()
        if self.shared is None or self.shared[0] is not shared:
            self.shared = shared, [ray.put(shared)]  # in a list, so that workers fetch it themselves, once
        placed = self.shared[1]
        waiting = deque(enumerate(items))
        busy: dict[Any, tuple[int, tuple[int, Any]]] = {}
        done: dict[int, Any] = {}
        following, losses = 0, 0
        while waiting or busy:
            free = set(range(self.size)) - {worker for worker, _ in busy.values()}
            while waiting and free and len(done) + len(busy) < AHEAD * self.size:
                worker, task = free.pop(), waiting.popleft()
                busy[self.actors[worker].apply.remote(function, placed, task[1])] = worker, task
            reference = ray.wait(list(busy))[0][0]
            _, task = busy.pop(reference)
            try:
                (done[task[0]],) = got([reference])
                losses = 0
            except LostWorkerError as error:
                losses += 1
                if losses > RETRIES:
                    raise TrainingError(
                        f"workers were lost {losses} times in a row ({error}); give the cluster more memory"
                    ) from None
                waiting.extendleft([again for _, again in busy.values()])
                waiting.appendleft(task)
                busy.clear()
                self.revive()
            while following in done:
                yield done.pop(following)
                following += 1
        self.hear()

    def hear(self) -> None:
        """Warn of what workers have warned of since the last call, each text once; see `Team`."""
        try:
            told = self.get([actor.said.remote() for actor in self.actors])
        except LostWorkerError:
            return  # whoever needs the worker will notice
        for category, text in dict.fromkeys(one for of in told for one in of):
            warn(text, category)

    def stop(self) -> None:
        """End the workers."""
        for actor in self.actors:
            library().kill(actor)
        self.actors = []


def on_node(node: str, function: Callable[[], Any]) -> Any:
    """Return a reference to what a function of a module returns on a node."""
    ray = library()
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=there)(function).remote()


def got(references: Iterable[Any]) -> Iterator[Any]:
    """Yield the values of references, in their order.

    Raises:
        LostWorkerError: a worker, or a value that only it had, is lost.
        TwoTowerError: a worker raised it.
    """
    ray = library()
    for reference in references:
        try:
            yield ray.get(reference)
        except ray.exceptions.RayError as error:
            raise _told(error) from error


def _told(error: Any) -> Exception:
    """Return the error that says what happened on a worker."""
    problems = library().exceptions
    cause = error
    while isinstance(cause, problems.RayTaskError):
        cause = cause.cause
    lost = (
        problems.RayActorError,
        problems.WorkerCrashedError,
        problems.ObjectLostError,
        problems.NodeDiedError,
        problems.OutOfMemoryError,
        problems.LocalRayletDiedError,
    )
    if isinstance(cause, lost):
        return LostWorkerError(
            str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        )
    if isinstance(cause, TwoTowerError | LostWorkerError):
        return cause
    return error if isinstance(error, Exception) else RuntimeError(str(error))
