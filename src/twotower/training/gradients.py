"""`Gradients`: stochastic gradient descent.

Each step encodes its distinct users and items once, runs the pair loop, and propagates the gradients back
through the towers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.sections import Count, NotNegative, Positive
from twotower.evaluation.epochs import EpochValidator
from twotower.objectives import Workspace
from twotower.objectives.penalty import penalty_shares, vector_penalty
from twotower.towers.registry import TOWERS
from twotower.training.batches import Batch, Batcher
from twotower.training.callback import CallbackList, Record
from twotower.training.closed_form.id_als import IdALS
from twotower.training.closed_form.pair_squares import PairSquares
from twotower.training.closed_form.posterior import take_posterior_means
from twotower.training.closed_form_start import start_at_solution
from twotower.training.descent import Descent
from twotower.training.learning_rate import Rate
from twotower.training.row_adam import RowAdam
from twotower.training.step_part import WHOLE, StepPart
from twotower.training.trainer import TrainingTask


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("must be 'auto' or a whole number of pairs, 1 or more")


class GradientsConfig(TrainingConfig):
    """``gradients``: trains all towers with all objectives, by Adam."""

    batch_size: Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)] = "auto"
    """Pairs per step. ``auto``: about 12 steps per epoch, between 8,192 and 1,048,576 pairs."""
    learning_rate: Literal["auto"] | Positive = "auto"
    """Initial learning rate of Adam. ``auto``: 0.005; where ``softmax`` or ``bpr`` start from a closed form,
    0.0005, and a tenth of that for layers."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """``plateau`` reduces the learning rate when the validation metric stalls; ``cosine`` decays it to zero
    over all epochs; ``constant`` keeps it."""
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Factor that the learning rate is multiplied by at a plateau."""
    plateau_patience: Count = 2
    """Epochs without a better validation metric before the learning rate is reduced."""
    id_dropout: Literal["auto"] | Annotated[float, Field(ge=0.0, lt=1.0)] = "auto"
    """Share of users and items whose id is hidden in each step, so the features learn to stand in for it
    (cold start). ``auto``: 0.1; 0.9 where the part of the vectors that ids add is solved for after each
    epoch, as with ``all_pairs``."""
    weight_decay: NotNegative = 0.01
    """Decoupled weight decay of the layers' weights (Loshchilov and Hutter 2019)."""
    clip_norm: Positive | None = 5.0
    """Maximum norm of the gradient of the layers' weights; ``"none"``: no clipping."""
    posterior: bool = True
    """With objective ``squared``: whether the vectors of the ids are replaced by their posterior means if
    that improves the validation metric. Not done with ``normalise`` or without ``regularisation``."""

    searched: ClassVar[Mapping[str, Any]] = {
        **TrainingConfig.searched,
        "id_dropout": {"low": 0.0, "high": 0.5},
        "learning_rate": {"low": 0.001, "high": 0.03, "log": True},
    }

    @property
    def first_rate(self) -> float:
        """The initial learning rate, "auto" resolved for a random start."""
        return 0.005 if self.learning_rate == "auto" else self.learning_rate


NEAR_RATE, NEAR_LAYERS = 0.0005, 0.1
"""The rate where it is "auto" and training starts at a closed form, and what that of the layers is multiplied
by: each weight of a layer moves all vectors at once, away from the solution."""
STARTED_DIM = 128
"""``dim`` where it is "auto" and training starts at a closed form."""
HIDDEN_IDS, SOLVED_IDS = 0.1, 0.9
"""Share of hidden ids where it is "auto": usually, and where the ids' part is solved for afterwards."""


class Gradients(Descent):
    """Trains by gradients; see `Trainer`.

    Where the objective is least squares over all cells, the ids' part of the vectors is solved in closed form
    after the steps of an epoch (`IdALS`), which then leave it unchanged.
    """

    Config: ClassVar[type[GradientsConfig]] = GradientsConfig

    def __init__(self, task: TrainingTask, config: GradientsConfig, part: StepPart = WHOLE) -> None:
        super().__init__(task, config, part)
        model, pairs, settings = task.model, task.pairs, task.settings
        self.batcher = Batcher(
            pairs,
            part.n_items(task.items.rows),
            config.batch_size,
            task.seed,
            negatives=self.sampled if settings.sampled_items == "auto" else settings.sampled_items,
            whole=task.objective.whole,
            known=None if task.queries is None else (task.by_user.lists, task.queries.user),
            part=part,
        )
        self.workspace = Workspace()
        self.user_shares = penalty_shares(task.by_user.lists.lengths, part.sum)
        if task.queries is not None:
            self.user_shares = self.user_shares[task.queries.user]
        self.item_shares = penalty_shares(part.sum(np.bincount(pairs.item, minlength=self.batcher.n_items)))
        self.ids: IdALS | None = None
        cell = task.objective.cell_weight(pairs.lists.lengths, task.items.rows)
        if self.solves_ids(model.config, settings) and cell is not None:
            if part.whole:
                squares = PairSquares(pairs, task.items.rows, cell, task.penalty)
                self.ids = IdALS(squares, task.users, task.items)
            for tower in (model.users, model.items):
                tower.ids.requires_grad_(requires_grad=False)
        settled = self.settled(config, model.config, settings)
        hidden = settled.id_dropout
        assert hidden != "auto"
        model.users.id_dropout = model.items.id_dropout = hidden
        tables = model.row_tables()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.layers = [p for name, p in trained.items() if name not in tables]
        rows = [p for name, p in trained.items() if name in tables]
        adam = torch.optim.AdamW([{"params": self.layers}], weight_decay=config.weight_decay, foreach=True)
        self.optimisers = adam, RowAdam([{"params": rows}])
        self.state = {name: self.optimisers[name in tables].state[p] for name, p in trained.items()}
        self.rates = Rate.start(settled)
        self.times = 1.0, 1.0  # the rate of layers and of tables
        if task.started:
            near = NEAR_RATE if config.learning_rate == "auto" else NEAR_LAYERS * config.learning_rate
            self.rates = Rate.start(settled.model_copy(update={"learning_rate": near}))
        elif part.whole and self.starts_solved(model.config, settings):
            start_at_solution(task, settings.start_scale)
        if task.started or self.starts_solved(model.config, settings):
            self.times = NEAR_LAYERS, 1.0

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return True, as there are gradients for all, unless targets would be in their own histories."""
        kind = TOWERS.get(model.kind)
        if kind.causal and objective.quadratic == "cells":
            return False  # every cell of every position: slow, and the weights fit users, not positions
        return (kind.ordered or not kind.reads_history) and not kind.composed

    @classmethod
    def check(cls, config: GradientsConfig, objective: ObjectiveConfig) -> None:
        """Raise `ValueError` if ``posterior`` was changed and the objective has no posterior."""
        if not config.posterior and objective.quadratic != "pairs":
            raise ValueError(
                "training.posterior = False has no effect, as posterior means are for squared errors of a "
                f"label, not for objective '{objective.name}'; leave it at True"
            )

    @classmethod
    def settled(
        cls, config: GradientsConfig, model: ModelConfig, objective: ObjectiveConfig
    ) -> GradientsConfig:
        """Return the settings with the rate and the share of hidden ids."""
        hidden = config.id_dropout
        if hidden == "auto":
            hidden = SOLVED_IDS if cls.solves_ids(model, objective) else HIDDEN_IDS
        rate = config.first_rate
        if config.learning_rate == "auto" and cls.starts_solved(model, objective):
            rate = NEAR_RATE
        return config.model_copy(update={"id_dropout": hidden, "learning_rate": rate})

    @classmethod
    def width(cls, model: ModelConfig, objective: ObjectiveConfig) -> int:
        """Return ``dim``; ``auto`` is wider where training starts at a closed form."""
        if model.dim == "auto" and cls.starts_solved(model, objective):
            return min(STARTED_DIM, model.max_dim)
        return model.length

    @classmethod
    def searched(cls, objective: ObjectiveConfig) -> Mapping[str, Any]:
        """Return the settings that `tune` searches by default; more ids are hidden where they are solved."""
        most = {"id_dropout": {"low": 0.5, "high": 0.99}} if objective.quadratic == "cells" else {}
        return {**cls.Config.searched, **most}

    @staticmethod
    def solves_ids(model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the part of the vectors that ids add is solved for after each epoch."""
        read_alone = not model.normalise and not TOWERS.get(model.kind).reads_history
        return objective.quadratic == "cells" and read_alone

    @staticmethod
    def starts_solved(model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether training starts at a closed form, whose vectors are of no fixed length."""
        return objective.start_scale > 0 and not model.normalise and not TOWERS.get(model.kind).reads_history

    def batches_of(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; see `Descent`."""
        return self.batcher.epoch(epoch)

    def rate_at(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step; see `Descent`."""
        return self.rates.at((epoch - 1 + step / self.batcher.steps) / self.config.most_epochs)

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Take the steps of an epoch, and solve for the ids' part if it is; see `Trainer`."""
        loss = super().epoch(number, callbacks)
        if self.ids is not None:
            self.ids.solve(self.task.model)
        return loss

    def step(self, batch: Batch, rate: float) -> float:
        """Take a step on a batch and return its loss without the penalty; see `Descent`."""
        task, part = self.task, self.part
        users = task.asked(batch.queries)
        task.model.zero_grad(set_to_none=True)
        U = part.user_vectors(task.model, users, users.rows, lambda: task.model.user_vectors(users))
        items = part.item_vectors(task.model, task.items, batch.items)
        (dU, dV), loss = self._gradients(U, items.every, batch)
        part.backward(task.model, (U, dU), (items.every, dV), items)
        if self.config.clip_norm is not None and self.layers:
            torch.nn.utils.clip_grad_norm_(self.layers, self.config.clip_norm)
        for optimiser, times in zip(self.optimisers, self.times, strict=True):
            optimiser.param_groups[0]["lr"] = rate * times
            optimiser.step()
        return loss

    @torch.no_grad()
    def _gradients(self, U: torch.Tensor, V: torch.Tensor, batch: Batch) -> tuple[list[torch.Tensor], float]:
        """Return dU and dV of the members' losses and penalties, and the mean loss."""
        task = self.task
        n = batch.n
        user_share = self._share(np.diff(batch.pairs.indptr), self.user_shares, batch.queries, n)
        counts = np.bincount(batch.pairs.item, minlength=len(V))
        item_share = self._share(counts, self.item_shares, batch.items, n)
        gradients: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        losses = []
        for u, v in zip(task.model.members(U.detach()), task.model.members(V.detach()), strict=True):
            result = self.part.loss(
                *(task.objective, u.contiguous(), v.contiguous(), batch.pairs),
                workspace=self.workspace,
                step=batch.step,
            )
            if task.penalty > 0.0:
                vector_penalty(u, v, result.dU, result.dV, user_share, item_share, task.penalty)
            gradients[0].append(result.dU)
            gradients[1].append(result.dV)
            losses.append(result.loss)
        return [torch.cat(part, dim=1) for part in gradients], sum(losses) / len(losses)

    def _share(
        self, counts: NDArray[np.int64], each: NDArray[np.float32], rows: NDArray[np.int64] | None, n: int
    ) -> torch.Tensor:
        share = counts * (each if rows is None else each[rows]) / n
        return torch.from_numpy(share.astype(np.float32)).to(self.task.users.dense.device)

    def rate(self, epoch: int) -> float:
        """Return the learning rate at the start of an epoch."""
        return self.rates.at((epoch - 1) / self.config.most_epochs)

    def set_rate(self, rate: float) -> None:
        """Take the learning rate that another run had in this epoch."""
        self.rates.rate = rate

    def observe(self, *, best: bool) -> None:
        """Reduce the rate at a plateau."""
        self.rates.observe(best=best)

    def values(self) -> dict[str, Any]:
        """Return the state of the learning rate."""
        return self.rates.state()

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over the moments and the learning rate."""
        super().restore(tensors, values)
        self.rates.restore(values)

    def advice(self, rate: float) -> str:
        """Return what helps if a loss is not finite."""
        return (
            f" at learning rate {rate:g}. Lower training.learning_rate, or look for extreme labels or "
            "weights (objective.transform = 'cap' helps)"
        )

    def refined(self, validator: EpochValidator, callbacks: CallbackList, epoch: int) -> list[Record]:
        """Replace id vectors by their posterior means if validation improves, and return a record if so."""
        task = self.task
        normal = task.settings.quadratic == "pairs" and not task.model.config.normalise
        if not (normal and self.config.posterior and task.queries is None):
            return []
        ids = [tower.ids.weight.detach() for tower in (task.model.users, task.model.items)]
        trained = [weight.clone() for weight in ids]
        before = validator(task.model)[validator.by]
        start = time.perf_counter()
        self._take_posterior(callbacks)
        seconds = time.perf_counter() - start
        metrics = validator(task.model)
        better = metrics[validator.by] < before
        callbacks.on_phase_end(
            reason="better on validation" if better else "no better on validation, left out"
        )
        if better:
            return [{"phase": "posterior", "epoch": epoch, "seconds": seconds, **metrics, "best": True}]
        for weight, old in zip(ids, trained, strict=True):
            weight.copy_(old)
        return []

    def refine(self, callbacks: CallbackList) -> None:
        """Replace id vectors by their posterior means."""
        self._take_posterior(callbacks)
        callbacks.on_phase_end(reason="done")

    def _take_posterior(self, callbacks: CallbackList) -> None:
        task = self.task
        n = len(task.pairs)
        callbacks.on_phase_start(phase="posterior", epochs=1, first_epoch=1, pairs=n)
        take_posterior_means(
            task.model,
            task.users,
            task.items,
            task.pairs,
            task.penalty,
            lambda share: callbacks.on_step_end(epoch=1, pairs_done=round(share * n), loss=math.nan),
        )
