"""`Trainer`: how the weights of a model are found, an epoch at a time.

The loop (`twotower.training.loop`) does what all trainers share: epochs, validation, early stopping,
callbacks and checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.features.item_statistics import ItemStatistics
from twotower.kernels.pairs import Pairs
from twotower.objectives import Objective
from twotower.towers import SideArrays, TwoTowerModel
from twotower.training.callback import CallbackList, Record
from twotower.training.choice import Choice
from twotower.training.queries import TrainQueries

if TYPE_CHECKING:
    from twotower.evaluation.epochs import EpochValidator


@dataclass(frozen=True)
class TrainingTask:
    """What a trainer works on.

    Attributes:
        model: the towers, changed in place.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
        pairs: the training pairs, grouped by query, with warm rows of items and standardised labels.
        objective: the loss on vectors and pairs.
        settings: those of the objective, with every "auto" resolved.
        penalty: strength of the L2 penalty on vectors.
        seed: random seed of batches and dropout.
        queries: which user asks in each row of ``pairs``, and when, for towers that read histories; None for
            a query a user, in the order of ``users``.
        statistics: of the warm items, for towers that read them.
        started: whether the towers hold an earlier solution, from which training continues.
    """

    model: TwoTowerModel
    users: SideArrays
    items: SideArrays
    pairs: Pairs
    objective: Objective
    settings: ObjectiveConfig
    penalty: float
    seed: int
    queries: TrainQueries | None = None
    statistics: ItemStatistics | None = None
    started: bool = False

    def asked(self, rows: NDArray[np.int64] | None) -> SideArrays:
        """Return what the user tower reads of some rows of ``pairs``, or of all with None."""
        if self.queries is not None:
            rows = np.arange(self.pairs.n_users) if rows is None else rows
            return self.queries.arrays(self.users, rows)
        return (
            self.users if rows is None else self.users.take(torch.from_numpy(rows).to(self.users.warm.device))
        )

    @cached_property
    def by_user(self) -> Pairs:
        """The training pairs grouped by user: ``pairs``, unless its rows are queries."""
        if self.queries is None:
            return self.pairs
        first = np.searchsorted(self.queries.user, np.arange(self.users.rows + 1))
        return replace(self.pairs, indptr=self.pairs.indptr[first])


Start = Callable[[ModelConfig, ObjectiveConfig], "Trainer"]
"""Makes a trainer of new towers for other settings."""
Worth = Callable[[TwoTowerModel], float]
"""What towers are worth on the validation set; higher is better."""


class Trainer(ABC):
    """Finds the weights of a model.

    Args:
        task: the model and what it learns from.
        config: settings, of type ``Config``.
    """

    Config: ClassVar[type[TrainingConfig]] = TrainingConfig
    solves: ClassVar[bool] = False
    """Whether an epoch is a round of a closed form, which needs no learning rate."""
    at_once: ClassVar[bool] = False
    """Whether the first epoch is the whole solution, whatever the weights are, and others change nothing."""
    settles: ClassVar[bool] = False
    """Whether the first epochs adapt the regularisation to the data, so that the training loss may rise."""

    def __init__(self, task: TrainingTask, config: Any) -> None:
        self.task, self.config = task, config

    sampled: ClassVar[int] = 4096
    """Items that are sampled in a step where ``negatives`` is "auto"."""
    weighs: ClassVar[bool] = True
    """Whether interactions may have different weights."""
    least_gain: ClassVar[float] = 0.0
    """Smallest share by which the validation metric must improve for patience to start again."""

    @classmethod
    @abstractmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether it can train such towers by such an objective."""

    @classmethod
    def unread(cls, objective: ObjectiveConfig) -> Collection[str]:
        """Return the settings of an objective that have no effect here; `tune` leaves them out."""
        return ()

    @classmethod
    def check(cls, config: Any, objective: ObjectiveConfig) -> None:
        """Raise `ValueError` if a setting of this trainer has no effect with an objective."""
        return None

    @classmethod
    def settled(cls, config: Any, model: ModelConfig, objective: ObjectiveConfig) -> Any:
        """Return the settings with every "auto" resolved that depends on the towers and the objective."""
        return config

    @classmethod
    def first_tried(cls, config: Any) -> Any:
        """Return the settings with which a search begins: a value for every "auto" that the data decides."""
        return config

    @classmethod
    def width(cls, model: ModelConfig, objective: ObjectiveConfig) -> int:
        """Return ``dim`` where it is not chosen on the validation set."""
        return model.length

    @classmethod
    def searched(cls, objective: ObjectiveConfig) -> Mapping[str, Any]:
        """Return the settings that `tune` searches by default, with values as in a space's TOML."""
        return cls.Config.searched

    @classmethod
    def choose(
        cls, model: ModelConfig, objective: ObjectiveConfig, first: TrainingTask, start: Start, worth: Worth
    ) -> Choice | None:
        """Choose settings that are "auto" on the validation set; None if nothing is chosen.

        Args:
            model: sizes of the towers, as given.
            objective: settings of the objective, as given.
            first: the task with every "auto" at its default.
            start: makes a trainer for other settings of both.
            worth: the validation metric; higher is better.
        """
        return None

    def remade(self, task: TrainingTask, config: Any) -> Trainer:
        """Return a trainer for other towers, another penalty or other settings, on the same pairs."""
        return type(self)(task, config)

    @abstractmethod
    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Run an epoch, counted from 1, in place, and return the training loss.

        The loop has seeded torch's generator, by the task's seed and the number of the epoch.

        Raises:
            TrainingError: the loss is not finite.
        """

    def rate(self, epoch: int) -> float:
        """Return the learning rate at the start of an epoch; 0 without one."""
        return 0.0

    def set_rate(self, rate: float) -> None:
        """Take the learning rate that another run had in this epoch, instead of the schedule's."""
        return None

    def observe(self, *, best: bool) -> None:
        """Take note of whether the last epoch was the best so far."""
        return None

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return the weights, which later epochs don't change."""
        return {name: of.detach().clone() for name, of in self.task.model.state_dict().items()}

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Take over weights that `snapshot` returned, or that a checkpoint has."""
        self.task.model.load_state_dict(weights)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the state beside the model, for a checkpoint."""
        return {}

    def values(self) -> dict[str, Any]:
        """Return further state as JSON values, for a checkpoint."""
        return {}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over the state that `tensors` and `values` returned."""
        return None

    def advice(self, rate: float) -> str:
        """Return what helps if a loss is not finite, as the end of an error."""
        return ". Raise objective.regularisation, or look for extreme weights"

    def refined(self, validator: EpochValidator, callbacks: CallbackList, epoch: int) -> list[Record]:
        """Improve the trained model if there is a way to that validation confirms; return a record if so."""
        return []

    def refine(self, callbacks: CallbackList) -> None:
        """Improve the model in the way that `refined` found to be better, without validation."""
        return None
