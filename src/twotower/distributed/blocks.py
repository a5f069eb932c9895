"""`Blocks`: the training pairs on the workers of a team, and rounds over them that survive lost workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twotower.core.warn import warn
from twotower.distributed.block import SIDES, Block, other
from twotower.distributed.team import LostWorkerError, Team
from twotower.errors import TrainingError
from twotower.kernels.pairs import Pairs

MOST_LOSSES = 20
"""Lost workers in a row, without a round done in between, after which training gives up."""

T = TypeVar("T")


class Held(ABC):
    """What the workers of a team hold while a model is trained. It is given to them again if one is lost.

    Args:
        team: the workers.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self._generation = -1

    def surviving(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; where a worker is lost, replace it, load its part, and do it again.

        Raises:
            TrainingError: workers are lost again and again.
        """
        last = ""
        for _ in range(MOST_LOSSES):
            try:
                if self._generation != self.team.generation:
                    self._load()
                    self._generation = self.team.generation
                done = work()
                self.team.hear()
                return done
            except LostWorkerError as error:
                last = str(error)
                change = self.team.revive()
                warn(f"a worker was lost ({last}): {change}; its part is loaded again and the epoch repeated")
        raise TrainingError(
            f"workers were lost {MOST_LOSSES} times in a row ({last}); give the cluster more memory or "
            "workers, then continue from the checkpoint"
        )

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call a method of every block; return the values."""
        return self.team.get([self.team.call(worker, method, *args) for worker in range(self.team.size)])

    @abstractmethod
    def _load(self) -> None:
        """Give the workers what they hold."""


class Blocks(Held):
    """Pairs on the workers of a team: each has consecutive users and items, with about as many pairs.

    Args:
        team: the workers.
        kind: the blocks that they hold.
        pairs: the training pairs.
        n_items: number of items.

    Attributes:
        counts: "users" and "items" -> (rows,) pairs of each row.
        bounds: "users" and "items" -> (workers + 1,) first row of each block, and the number of all.
    """

    def __init__(self, team: Team, kind: type[Block], pairs: Pairs, n_items: int) -> None:
        super().__init__(team)
        self.kind, self.pairs, self.n_items = kind, pairs, n_items
        self.counts: dict[str, NDArray[np.int64]] = {"users": np.diff(pairs.indptr)}
        self.bounds: dict[str, NDArray[np.int64]] = {}
        self.surviving(lambda: None)

    def _load(self) -> None:
        team, size, pairs = self.team, self.team.size, self.pairs
        team.start(self.kind)
        users = self.bounds["users"] = even(pairs.indptr, size)
        counted = []
        for worker in range(size):
            rows = slice(users[worker], users[worker + 1] + 1)
            indptr = pairs.indptr[rows]
            at = slice(indptr[0], indptr[-1])
            weight = None if pairs.weight is None else pairs.weight[at]
            part = Pairs(indptr - indptr[0], pairs.item[at], pairs.label[at], weight)
            counted.append(team.call(worker, "load", worker, int(rows.start), part, self.n_items))
        self.counts["items"] = np.sum(team.get(counted), axis=0, dtype=np.int64)
        items = self.bounds["items"] = even(np.append(0, np.cumsum(self.counts["items"])), size)
        self.swap("split", "join", items, lambda worker: (int(items[worker]), int(np.diff(items)[worker])))
        self.routed()

    def swap(
        self,
        give: str,
        take: str,
        bounds: NDArray[np.int64],
        place: Callable[[int], tuple[int, ...]],
        *more: Any,
    ) -> None:
        """Let each block give the others a part of its users' pairs, by blocks of items."""
        every = range(self.team.size)
        parts = [self.team.call_many(worker, give, *more, bounds) for worker in every]
        n_users = self.pairs.n_users
        self.team.get(
            [
                self.team.call(worker, take, *place(worker), n_users, *(of[worker] for of in parts))
                for worker in every
            ]
        )

    def routed(self) -> dict[str, NDArray[np.int64]]:
        """Let the blocks tell each other which vectors they need.

        Returns:
            "users" and "items" -> (workers, workers), how many of the side's rows a block sends to another.
        """
        every, team = range(self.team.size), self.team
        routes = {}
        for which in SIDES:
            needs = [team.call_many(worker, "needs", other(which), self.bounds[which]) for worker in every]
            routes[which] = [
                team.call(worker, "route", which, *(of[worker] for of in needs)) for worker in every
            ]
        return {which: np.array(team.get(of)) for which, of in routes.items()}

    def rows(self, which: str, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the part of each block of values for every row of a side."""
        bounds = self.bounds[which]
        return [values[start:end] for start, end in pairwise(bounds)]

    def exchange(self, which: str, member: int) -> list[list[Any]]:
        """Let each block send its vectors of a side; return for each worker what the blocks sent to it."""
        every = range(self.team.size)
        sent = [self.team.call_many(worker, "send", which, member) for worker in every]
        return [[of[worker] for of in sent] for worker in every]


def even(indptr: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the first row of each of ``size`` blocks with about as many pairs, and the number of rows."""
    cuts = np.searchsorted(indptr, np.arange(size + 1) * (int(indptr[-1]) / size))
    cuts[0], cuts[-1] = 0, len(indptr) - 1
    return cuts.astype(np.int64)
