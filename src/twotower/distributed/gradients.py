"""`TeamGradients` and `TeamSequences`: steps of gradients that the workers of a team take together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.distributed.blocks import Held, even
from twotower.distributed.gradient_block import (
    Arrays,
    GradientBlock,
    GradientShare,
    ModelShape,
    bounds_of,
    table_of,
)
from twotower.distributed.moving import Rows, fetched, send
from twotower.distributed.team import Team
from twotower.kernels.pairs import Pairs
from twotower.towers import SideArrays
from twotower.training.callback import CallbackList
from twotower.training.descent import Descent
from twotower.training.gradients import Gradients
from twotower.training.queries import TrainQueries
from twotower.training.sequences import Sequences
from twotower.training.stored_pairs import StoredPairs
from twotower.training.trainer import TrainingTask

AHEAD = 4
"""Steps that workers are asked for before the result of the first of them is waited for."""


class Shares(Held):
    """Users with their pairs, and items, on the workers of a team: each has some that follow one another.

    Args:
        team: the workers.
        kind: the trainer whose steps they take.
        task, config: see `Trainer`.

    Attributes:
        bounds: "users", "items" and each table of rows -> (workers + 1,) first row of each worker, and the
            number of all.
    """

    def __init__(self, team: Team, kind: type[Descent], task: TrainingTask, config: Any) -> None:
        super().__init__(team)
        self.kind, self.task, self.config = kind, task, config
        self.bounds: dict[str, NDArray[np.int64]] = {}

    def _load(self) -> None:
        team, task = self.team, self.task
        team.start(GradientBlock)
        items = task.items.rows * np.arange(team.size + 1) // team.size
        self.bounds = bounds_of(task.model, even(task.by_user.indptr, team.size), items)
        hosts = [team.host(worker) for worker in range(team.size)]
        (place,) = team.get([team.call(0, "meet", hosts[0])])
        model = ModelShape.of(task.model)
        joining = [
            team.call(
                worker,
                "join_group",
                *(worker, team.size, hosts[worker], place),
                GradientShare(self.kind, self.config, self._part(worker), model, self.bounds),
            )
            for worker in range(team.size)
        ]
        team.get(joining)

    def _part(self, worker: int) -> TrainingTask:
        """Return the users, items and pairs of a worker, on the CPU and without a model."""
        task = self.task
        first, last = self.bounds["users"][worker : worker + 2].tolist()
        queries, rows = None, (first, last)
        if task.queries is not None:
            queries = _queries_of(task.queries, first, last)
            start, end = np.searchsorted(task.queries.user, [first, last]).tolist()
            rows = start, end
        model: Any = None
        return replace(
            task,
            model=model,
            users=_rows_of(task.users, first, last),
            items=_rows_of(task.items, *self.bounds["items"][worker : worker + 2].tolist()),
            pairs=_pairs_of(task.pairs, *rows),
            objective=task.objective.of_users(slice(*rows)),
            queries=queries,
        )

    def send(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Send tables and their moments to the workers that have the rows."""
        send(self.team, {name: (of, self._rows(name)) for name, of in tensors.items()})

    def fetched(self, tables: Mapping[str, Rows]) -> dict[str, torch.Tensor]:
        """Return tables and their moments from the workers, on disk."""
        pairs = self.task.pairs
        space = pairs.space if isinstance(pairs, StoredPairs) else None
        return fetched(self.team, {name: (of, self._rows(name)) for name, of in tables.items()}, space)

    def _rows(self, name: str) -> NDArray[np.int64]:
        return self.bounds[self.table_of(name) or ""]

    def table_of(self, name: str) -> str | None:
        """Return the table that a weight is, or whose moments these are; None for those of layers."""
        return table_of(name, self.bounds)


class Together(Descent):
    """Takes its steps on the workers of a team. What else an epoch consists of is done here.

    Workers get weights and moments when an epoch begins, and give them back when it ends. So an epoch in
    which one is lost is done again. Tables that come back are on disk, and replace those from before, which
    stay as they are as long as they are used.
    """

    alone: type[Descent]
    """The trainer whose steps they take."""
    shares: Shares

    @classmethod
    def on(cls, team: Team, task: TrainingTask, config: Any) -> Self:
        """Return the trainer, with the pairs of the task brought to a team of workers."""
        made = cls(task, config)
        made.shares = Shares(team, cls.alone, task, config)
        return made

    def remade(self, task: TrainingTask, config: Any) -> Self:
        """Return a trainer of other towers on the same workers; see `Trainer`."""
        return self.on(self.shares.team, task, config)

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Run an epoch on the workers, again if one is lost; see `Trainer`."""
        return self.shares.surviving(lambda: super(Together, self).epoch(number, callbacks))

    def losses(self, epoch: int) -> Iterator[tuple[int, float]]:
        """Let the workers take the steps of an epoch; see `Descent`."""
        shares, team = self.shares, self.shares.team
        every = range(team.size)
        weights, moments = self.task.model.state_dict(), self.tensors()
        layers = [
            {name: of.detach().cpu().numpy() for name, of in tensors.items() if not shares.table_of(name)}
            for tensors in (weights, moments)
        ]
        team.get([team.call(worker, "take", *layers) for worker in every])
        named = dict(self.task.model.named_parameters())
        shares.send({name: of for name, of in (named | moments).items() if shares.table_of(name)})
        team.get([team.call(worker, "begin", epoch) for worker in every])
        waiting: deque[list[Any]] = deque()
        step = 0
        while True:
            while len(waiting) < AHEAD:
                rate = self.rate_at(epoch, step)
                waiting.append([team.call(worker, "step", rate) for worker in every])
                step += 1
            found = team.get(waiting.popleft())
            if found[0] is None:
                break
            yield found[0][0], float(sum(loss for _, loss in found))
        ended = team.get([team.call(worker, "end") for worker in every])
        tables = shares.fetched({name: of for *_, found in ended for name, of in found.items()})
        self._take(ended[0][0], ended[0][1], tables)

    @torch.no_grad()
    def _take(self, weights: Arrays, moments: Arrays, tables: dict[str, torch.Tensor]) -> None:
        """Take over the weights and moments of layers, and of tables."""
        named, device = dict(self.task.model.named_parameters()), self.task.users.warm.device
        own = self.task.model.state_dict()
        for name, weight in weights.items():
            own[name].copy_(torch.from_numpy(np.array(weight)))
        for name in named.keys() & tables.keys():
            _replace(named[name], tables.pop(name))
        others = {name: torch.from_numpy(np.array(of)) for name, of in moments.items()}
        Descent.restore(self, {name: of.to(device) for name, of in (others | tables).items()}, {})

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return the weights; tables are replaced by later epochs, and not written to. See `Trainer`."""
        model, kept = self.task.model, self._replaced()
        return {
            name: of.detach() if name in kept else of.detach().clone()
            for name, of in model.state_dict().items()
        }

    @torch.no_grad()
    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Take over weights; see `Trainer`."""
        tables = self._replaced()
        for name, of in self.task.model.state_dict().items():
            if name in tables:
                _replace(tables[name], weights[name])
            else:
                of.copy_(weights[name])

    def _replaced(self) -> dict[str, Any]:
        """Return the tables that every epoch replaces, under all their names."""
        named = self.task.model.named_parameters(remove_duplicate=False)
        tables = self.task.model.row_tables().values()
        ids = {id(table) for table in tables if table.requires_grad and table.device.type == "cpu"}
        return {name: of for name, of in named if id(of) in ids}


class TeamGradients(Together, Gradients):
    """`Gradients` on the workers of a team."""

    alone = Gradients


class TeamSequences(Together, Sequences):
    """`Sequences` on the workers of a team."""

    alone = Sequences


def _replace(weight: Any, values: torch.Tensor) -> None:
    """Give a weight other values, on the CPU without copying them."""
    if weight.device.type == "cpu":
        weight.data = values
    else:
        weight.copy_(values)


def _rows_of(side: SideArrays, first: int, last: int) -> SideArrays:
    """Return consecutive rows, renumbered from 0, on the CPU."""
    rows = _on_cpu(side.take(torch.arange(first, last, device=side.warm.device)))
    return replace(rows, warm=torch.arange(1, last - first + 1))


def _on_cpu(side: SideArrays) -> SideArrays:
    """Return encoded rows, without what they did before."""
    return SideArrays(
        *(side.warm.cpu(), side.dense.cpu(), side.codes.cpu()),
        tuple((indptr.cpu(), codes.cpu()) for indptr, codes in side.bags),
        side.shape,
    )


def _pairs_of(pairs: Pairs, first: int, last: int) -> Pairs:
    indptr = pairs.indptr[first : last + 1]
    at = slice(int(indptr[0]), int(indptr[-1]))
    weight = None if pairs.weight is None else pairs.weight[at]
    time = None if pairs.time is None else pairs.time[at]
    return Pairs(indptr - indptr[0], pairs.item[at], pairs.label[at], weight, time)


def _queries_of(queries: TrainQueries, first: int, last: int) -> TrainQueries:
    """Return the queries of some users, renumbered from 0."""
    start, end = np.searchsorted(queries.user, [first, last]).tolist()
    context = None
    if queries.context is not None:
        context = _on_cpu(queries.context.take(torch.arange(start, end, device=queries.context.warm.device)))
    return replace(
        queries,
        user=queries.user[start:end] - first,
        time=queries.time[start:end],
        past=_pairs_of(queries.past, first, last),
        catalogue=_on_cpu(queries.catalogue),
        context=context,
    )
