"""`GradientBlock`: a worker's users, items and pairs, on which it takes its part of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twotower.core.blocks import EncodedShape
from twotower.distributed.block import Block
from twotower.distributed.divided import DIVIDED, DividedStep
from twotower.distributed.group import Group, Meeting
from twotower.kernels.pairs import Pairs
from twotower.towers import TwoTowerModel
from twotower.training.descent import Descent
from twotower.training.trainer import TrainingTask

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelShape:
    """What towers are made from.

    Attributes:
        users: the columns that the user tower reads.
        items: the same for items.
        config: sizes, with every "auto" resolved.
        mean: constant added to every score.
        sizes: rows of each table that is whole on every worker, by name.
    """

    users: EncodedShape
    items: EncodedShape
    config: Any
    mean: float
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, model: TwoTowerModel) -> ModelShape:
        """Return what a model was made from."""
        sizes = {name: len(table) for name, table in model.row_tables().items() if name not in DIVIDED}
        return cls(model.users.shape, model.items.shape, model.config, float(model.mean), sizes)

    def made(self, n_users: int, n_items: int) -> TwoTowerModel:
        """Return such towers for some users and items."""
        model = TwoTowerModel(self.users, self.items, n_users, n_items, self.config, 0, self.mean)
        for name, rows in self.sizes.items():
            table: Any = model.get_submodule(name.rpartition(".")[0])
            if len(table.weight) != rows:
                table.num_embeddings = rows
                table.weight = nn.Parameter(table.weight.new_zeros(rows, table.weight.shape[1]))
        return model


@dataclass(frozen=True, eq=False)
class GradientShare:
    """What a worker gets when training starts.

    Attributes:
        kind: the trainer whose steps it takes part in.
        config: its settings.
        task: its users, items and pairs, whose items are numbered among all; ``model`` is None.
        model: what the towers are made from.
        bounds: (workers + 1,) first item of each worker, and the number of all.
    """

    kind: type[Descent]
    config: Any
    task: TrainingTask
    model: ModelShape
    bounds: NDArray[np.int64]


class GradientBlock(Block):
    """Some users with their pairs and some items; it keeps no weights from epoch to epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting: Meeting | None = None
        self.trainer: Any = None
        self.steps: Iterator[tuple[int, Any]] = iter(())
        self.epoch = 0

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
        model = share.model.made(given.users.rows, given.items.rows)
        task = replace(given, model=model, pairs=_own(given.pairs))
        self.trainer = share.kind(task, share.config, DividedStep(group, share.bounds))

    def begin(self, epoch: int, weights: Arrays, moments: Arrays) -> None:
        """Begin an epoch with some weights and moments of the optimisers."""
        trainer = self.trainer
        trainer.task.model.load_state_dict(_tensors(weights))
        for state in trainer.state.values():
            state.clear()
        Descent.restore(trainer, _tensors(moments), {})
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

    def end(self) -> tuple[Arrays, Arrays]:
        """Return weights and moments: those of the rows here, and of the first worker all others."""
        found = self.trainer.task.model.state_dict(), self.trainer.tensors()
        weights, moments = (
            {
                name: of.detach().cpu().numpy()
                for name, of in tensors.items()
                if self.trainer.part.number == 0 or side_of(name) is not None
            }
            for tensors in found
        )
        return weights, moments


def side_of(name: str) -> str | None:
    """Return the side whose rows a weight or its moments have, if workers have those of their own alone."""
    whole = name.startswith(DIVIDED) and not name.endswith(".step")
    return name.partition(".")[0] if whole else None


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _own(pairs: Pairs) -> Pairs:
    """Return pairs in memory that may be written to; what is received may not."""
    given = (pairs.indptr, pairs.item, pairs.label, pairs.weight, pairs.time)
    indptr, item, label, weight, time = (None if one is None else one.copy() for one in given)
    return Pairs(indptr, item, label, weight, time)  # type: ignore[arg-type]
