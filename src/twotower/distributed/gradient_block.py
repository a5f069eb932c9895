"""`GradientBlock`: a worker's users, items and pairs, on which it takes its part of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twotower.core.blocks import EncodedShape
from twotower.distributed.block import Block
from twotower.distributed.divided import DividedStep
from twotower.distributed.group import Group, Meeting
from twotower.distributed.moving import Rows
from twotower.distributed.tables import DividedTable, Tables
from twotower.kernels.pairs import Pairs
from twotower.towers import TwoTowerModel
from twotower.training.descent import Descent
from twotower.training.trainer import TrainingTask

Arrays = Mapping[str, NDArray[Any]]
OWN = {"users.ids.weight": "users", "items.ids.weight": "items"}
"""Tables of which a worker has, and reads, the rows of its own users or items alone."""


@dataclass(frozen=True)
class ModelShape:
    """What towers are made from.

    Attributes:
        users: the columns that the user tower reads.
        items: the same for items.
        config: sizes, with every "auto" resolved.
        mean: constant added to every score.
    """

    users: EncodedShape
    items: EncodedShape
    config: Any
    mean: float

    @classmethod
    def of(cls, model: TwoTowerModel) -> ModelShape:
        """Return what a model was made from."""
        return cls(model.users.shape, model.items.shape, model.config, float(model.mean))

    def made(self, n_users: int, n_items: int, tables: Tables) -> TwoTowerModel:
        """Return such towers for some users and items, with any weights, and rows of the large tables."""
        with torch.device("meta"):  # shapes without memory, until the tables are divided
            model = TwoTowerModel(self.users, self.items, n_users, n_items, self.config, 0, self.mean)
        divided: dict[nn.Module, DividedTable] = {}
        for name, module in [*model.named_modules(remove_duplicate=False)]:
            if is_table(module) and f"{name}.weight" not in OWN:
                if module not in divided:
                    divided[module] = tables.made(f"{name}.weight", int(module.embedding_dim))
                _put(model, name, divided[module])
        made: dict[torch.Tensor, torch.Tensor] = {}
        named = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
        for name, given in [one for several in named for one in several]:
            if given.is_meta and given not in made:
                empty = torch.empty_like(given, device="cpu")
                trained = given.requires_grad
                made[given] = nn.Parameter(empty, trained) if isinstance(given, nn.Parameter) else empty
            _put(model, name, made.get(given, given))
        return model


@dataclass(frozen=True, eq=False)
class GradientShare:
    """What a worker gets when training starts.

    Attributes:
        kind: the trainer whose steps it takes part in.
        config: its settings.
        task: its users, items and pairs, whose items are numbered among all; ``model`` is None.
        model: what the towers are made from.
        bounds: "users", "items" and each table of rows -> (workers + 1,) first row of each worker, and the
            number of all.
    """

    kind: type[Descent]
    config: Any
    task: TrainingTask
    model: ModelShape
    bounds: Mapping[str, NDArray[np.int64]]


class GradientBlock(Block):
    """Some users with their pairs and some items; it keeps no weights from epoch to epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting: Meeting | None = None
        self.trainer: Any = None
        self.steps: Iterator[tuple[int, Any]] = iter(())
        self.epoch = 0
        self.bounds: Mapping[str, NDArray[np.int64]] = {}

    def meet(self, host: str) -> tuple[str, int]:
        """Open the port at which the others find this worker, and return where that is."""
        self.meeting = Meeting(host)
        return self.meeting.place

    def join_group(
        self, number: int, size: int, host: str, place: tuple[str, int], share: GradientShare
    ) -> None:
        """Join the others, and take over a share of users, items and pairs.

        Args:
            number: of this worker.
            size: number of workers.
            host: address of this machine.
            place: where the first worker is.
            share: what is learned from here.
        """
        group = Group(number, size, host, place, self.meeting)
        given = share.task
        tables, self.bounds = Tables(group, share.bounds), share.bounds
        model = share.model.made(given.users.rows, given.items.rows, tables)
        task = replace(given, model=model, pairs=_own(given.pairs))
        self.trainer = share.kind(task, share.config, DividedStep(group, share.bounds["items"], tables))

    @torch.no_grad()
    def take(self, weights: Arrays, moments: Arrays) -> None:
        """Take over the weights and moments of layers; those of tables come by `put`."""
        trainer = self.trainer
        own = trainer.task.model.state_dict()
        for name, weight in _tensors(weights).items():
            own[name].copy_(weight)
        for state in trainer.state.values():
            state.clear()
        Descent.restore(trainer, _tensors(moments), {})

    def put(self, name: str, first: int, values: NDArray[Any]) -> None:
        """Take over rows of a table or of its moments, from a row on that is counted from 0 here."""
        tensor = self._table(name, values.shape[1:])
        tensor[first : first + len(values)] = torch.from_numpy(np.array(values))

    def rows(self, name: str, first: int, last: int, like: Rows) -> NDArray[Any]:
        """Return rows of a table or of its moments; zeros where no row here had a gradient yet."""
        tensor = self._table(name, like[0])
        return tensor[first:last].numpy()  # type: ignore[no-any-return]

    def _table(self, name: str, row: tuple[int, ...]) -> Any:
        weights = dict(self.trainer.task.model.named_parameters())
        if name in weights:
            return weights[name].detach()
        table, _, key = name.rpartition(".")
        state = self.trainer.state[table]
        if key not in state:
            state[key] = torch.zeros(len(weights[table]), *row)
        return state[key]

    def begin(self, epoch: int) -> None:
        """Begin an epoch with what `take` and `put` brought."""
        trainer = self.trainer
        trainer.task.model.train()
        self.epoch, self.steps = epoch, enumerate(trainer.batches_of(epoch))

    def step(self, rate: float) -> tuple[int, float] | None:
        """Take part in the next step of the epoch.

        Returns:
            The number of pairs of the whole step and this worker's share of the loss; None after the last
            step.
        """
        place, batch = next(self.steps, (0, None))
        if batch is None:
            return None
        return batch.n, self.trainer.seeded(self.epoch, place, batch, rate)

    def end(self) -> tuple[Arrays, Arrays, dict[str, Rows]]:
        """Return weights and moments of layers, of the first worker alone, and which tables were trained."""
        model, moments = self.trainer.task.model, self.trainer.tensors()
        tables = {
            name: (tuple(of.shape[1:]), str(of.detach().numpy().dtype))
            for name, of in (*model.named_parameters(), *moments.items())
            if table_of(name, self.bounds) is not None and (name in moments or of.requires_grad)
        }
        layers = [
            {
                name: of.detach().cpu().numpy()
                for name, of in tensors.items()
                if self.trainer.part.number == 0 and table_of(name, self.bounds) is None
            }
            for tensors in (model.state_dict(), moments)
        ]
        return layers[0], layers[1], tables


def bounds_of(
    model: TwoTowerModel, users: NDArray[np.int64], items: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return "users", "items" and each table of rows -> (workers + 1,) first row of each worker.

    Rows of ids are on the worker that has the user or item, those of other tables evenly on all.

    Args:
        model: the towers.
        users: (workers + 1,) first user of each worker, and the number of all.
        items: the same for items.
    """
    bounds = {"users": users, "items": items}
    size = len(users) - 1
    for name, module in model.named_modules(remove_duplicate=False):
        if is_table(module):
            weight = f"{name}.weight"
            even = len(module.weight) * np.arange(size + 1) // size
            bounds[weight] = bounds[OWN[weight]] if weight in OWN else even
    return bounds


def table_of(name: str, bounds: Mapping[str, Any]) -> str | None:
    """Return the table whose rows a weight or its moments have, if they are divided among the workers."""
    tables = bounds.keys() - {"users", "items"}
    return next((table for table in tables if name == table or name.startswith(f"{table}.")), None)


def is_table(module: nn.Module) -> TypeGuard[nn.Embedding]:
    """Return whether a module is a table of rows; see `twotower.towers.layers.row_table`."""
    return isinstance(module, nn.Embedding) and module.sparse


def _put(model: nn.Module, name: str, value: Any) -> None:
    of, _, own = name.rpartition(".")
    setattr(model.get_submodule(of), own, value)


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _own(pairs: Pairs) -> Pairs:
    """Return pairs in memory that may be written to; what is received may not."""
    given = (pairs.indptr, pairs.item, pairs.label, pairs.weight, pairs.time)
    indptr, item, label, weight, time = (None if one is None else one.copy() for one in given)
    return Pairs(indptr, item, label, weight, time)  # type: ignore[arg-type]
