"""`Sequences`: trains towers that read histories at every position of a history in one pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.sections import Count, Positive
from twotower.core.lists import Lists
from twotower.objectives import Workspace
from twotower.towers.registry import TOWERS
from twotower.towers.sequence import SequenceUsers
from twotower.training.descent import Descent
from twotower.training.row_adam import RowAdam
from twotower.training.sequence_start import spectral_vectors
from twotower.training.step_part import WHOLE, StepPart
from twotower.training.trainer import TrainingTask
from twotower.training.user_batches import UserBatch, UserBatches

BETAS = (0.9, 0.98)
FAST = 5.0
"""The rate of features and decays, as a multiple of that of other weights."""
RATE, BARE_RATE = 0.002, 0.001
"""The highest rate where it is "auto", with features of items and without."""
WARM_UP, LAST = 50, 0.02
"""The steps in which the rate rises, and the share left of it at the end."""
NEAR = 0.5
"""The highest rate where training continues from earlier towers, as a share of the usual one."""
TARGETS = 1024
"""Targets a step where they are "auto"."""


class SequencesConfig(TrainingConfig):
    """``sequences``: trains towers that read histories, each history in one pass, by Adam."""

    batch_size: Literal["auto"] | Count = "auto"
    """Targets per step, of whole users. ``auto``: 1,024."""
    learning_rate: Literal["auto"] | Positive = "auto"
    """Highest learning rate of Adam; it rises over the first 50 steps, then falls linearly to 2% over all
    epochs. Features and decays learn at five times the rate. ``auto``: 0.002; 0.001 without features of
    items."""

    usual_epochs: ClassVar[int] = 6
    searched: ClassVar[Mapping[str, Any]] = {
        **TrainingConfig.searched,
        "learning_rate": {"low": 0.0005, "high": 0.005, "log": True},
    }


class Sequences(Descent):
    """Trains by gradients, a batch of users at a time; see `Trainer`.

    A user's history is read once, and every pair takes the vector of the position before it; pairs of one
    time share a position, so that none is in the history of another.
    """

    Config: ClassVar[type[SequencesConfig]] = SequencesConfig
    sampled: ClassVar[int] = 1024

    def __init__(self, task: TrainingTask, config: SequencesConfig, part: StepPart = WHOLE) -> None:
        super().__init__(task, config, part)
        model, sampled = task.model, task.settings.sampled_items
        n_items = part.n_items(task.items.rows)
        self.batches = UserBatches(
            task,
            TARGETS if config.batch_size == "auto" else config.batch_size,
            n_items if sampled is None else self.sampled if sampled == "auto" else sampled,
            model.users.max_history,
            part,
        )
        self.workspace = Workspace()
        if part.whole and isinstance(model.users, SequenceUsers) and not task.started:
            self._start(model.users)
        tables = model.row_tables()
        fast = {id(one) for one in (*model.users.fast(), *model.items.fast())}
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        rows = [p for name, p in self.trained.items() if name in tables]
        layers = [p for name, p in self.trained.items() if name not in tables]
        self.adam = torch.optim.AdamW(
            [
                {"params": [p for p in layers if id(p) not in fast], "times": 1.0},
                {"params": [p for p in layers if id(p) in fast], "times": FAST},
            ],
            betas=BETAS,
            weight_decay=0.0,
            foreach=True,
        )
        quick = [p for p in rows if id(p) in fast]
        slow = [p for p in rows if id(p) not in fast]
        groups = [{"params": slow, "times": 1.0}, {"params": quick, "times": FAST}]
        self.rows = RowAdam([group for group in groups if group["params"]], betas=BETAS)
        self.state = {
            name: (self.rows if name in tables else self.adam).state[p] for name, p in self.trained.items()
        }

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers give all positions of a history in one pass, and the objective ranks."""
        ranks = objective.implicit and not objective.quadratic
        return TOWERS.get(model.kind).causal and model.n_members == 1 and ranks

    @classmethod
    def unread(cls, objective: ObjectiveConfig) -> Collection[str]:
        """See `Trainer.unread` and `check`."""
        return ("regularisation",)

    @classmethod
    def check(cls, config: SequencesConfig, objective: ObjectiveConfig) -> None:
        """Raise `ValueError` if a setting that is not read was changed: dropout is what regularises here."""
        if objective.regularisation != "auto":
            raise ValueError(
                f"objective.regularisation = {objective.regularisation!r} is not read by trainer "
                "'sequences', whose towers are regularised by model.dropout; leave it at 'auto'"
            )

    @classmethod
    def first_tried(cls, config: SequencesConfig) -> SequencesConfig:
        """Return the settings with a rate."""
        return config.model_copy(update={"learning_rate": RATE}) if config.learning_rate == "auto" else config

    def _start(self, users: SequenceUsers) -> None:
        """Give the items' rows, in histories and as candidates, the vectors of what follows what."""
        task = self.task
        assert task.queries is not None
        past, warm = task.queries.past, task.queries.catalogue.warm.cpu().numpy() - 1
        known = (past.label > 0) & (warm[past.item] >= 0)
        lists = Lists(past.indptr, warm[past.item]).where(known)
        vectors = spectral_vectors(lists, task.items.rows, users.width - 1, task.seed)
        with torch.no_grad():
            for tower, start in zip((users.inputs, task.model.items), vectors, strict=True):
                tower.ids.weight[:, :-1] = torch.from_numpy(start).to(tower.ids.weight)
                tower.ids.weight[:, -1] = 0.0  # the bias

    def batches_of(self, epoch: int) -> Iterator[UserBatch]:
        """Yield the batches of an epoch; see `Descent`."""
        return self.batches.epoch(epoch)

    def rate_at(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step; see `Descent`."""
        return self._rate((epoch - 1) * self.batches.steps + step)

    def step(self, batch: UserBatch, rate: float) -> float:
        """Take a step on a batch and return its loss; see `Descent`."""
        task, model, part = self.task, self.task.model, self.part
        model.zero_grad(set_to_none=True)

        def encode() -> torch.Tensor:
            asked = model.users.positions(batch.users, batch.row, batch.at)
            return model.vectors_of(model.users.in_context(asked, batch.context), "users")

        U = part.user_vectors(model, batch.users, len(batch.row), encode)
        items = part.item_vectors(model, task.items, batch.items)
        V = items.every
        if (added := self._of_the_day(batch)) is not None:  # each point in time is one more dimension
            U, V = torch.cat([U, added[0]], dim=1), torch.cat([V, added[1]], dim=1)
        result = part.loss(
            *(task.objective, U.detach(), V.detach(), batch.pairs),
            workspace=self.workspace,
            step=batch.step,
        )
        part.backward(model, (U, result.dU), (V, result.dV), items)
        for optimiser in (self.adam, self.rows):
            for group in optimiser.param_groups:
                group["lr"] = rate * group["times"]
            optimiser.step()
        return result.loss

    def _of_the_day(self, batch: UserBatch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return at which point in time each query is asked, one-hot (queries, points), and what the
        statistics of items there add to their scores, (items, points); None without statistics.
        """
        statistics = self.task.statistics
        if statistics is None or not len(batch.time):
            return None
        weights: Any = self.task.model.items.statistics
        points, place = np.unique(statistics.before(batch.time), return_inverse=True)
        values = torch.from_numpy(statistics.at(points, batch.items)).to(weights.device)
        shown = F.one_hot(torch.from_numpy(place), len(points)).to(values)
        return shown, (values @ weights).T

    def _rate(self, step: int) -> float:
        """Return the rate of a step, counted from 0 over all epochs."""
        described = bool(self.task.items.shape.ranges or self.task.items.shape.n_dense)
        usual = RATE if described else BARE_RATE
        highest = usual if self.config.learning_rate == "auto" else self.config.learning_rate
        if self.task.started:
            highest *= NEAR
        done = step / (self.batches.steps * self.config.most_epochs)
        return float(highest * min((step + 1) / WARM_UP, 1.0) * (1.0 - (1.0 - LAST) * done))

    def rate(self, epoch: int) -> float:
        """Return the learning rate at the start of an epoch."""
        return self._rate((epoch - 1) * self.batches.steps)

    def advice(self, rate: float) -> str:
        """Return what helps if a loss is not finite."""
        return f" at learning rate {rate:g}. Lower training.learning_rate, or look for extreme weights"
