"""`Descent`: what trainers by gradients share: the loop over the steps of an epoch, and their state."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch

from twotower.errors import TrainingError
from twotower.training.callback import CallbackList
from twotower.training.step_part import WHOLE, StepPart
from twotower.training.trainer import Trainer, TrainingTask


class Descent(Trainer):
    """Trains by steps of gradients; see `Trainer`.

    Args:
        task: the model and what it learns from; of a part of each step, the users, items and pairs there.
        config: settings.
        part: which of each step's users and items are here.

    Attributes:
        state: the state of the optimisers of each weight, by its name.
    """

    state: dict[str, dict[str, Any]]

    def __init__(self, task: TrainingTask, config: Any, part: StepPart = WHOLE) -> None:
        super().__init__(task, config)
        self.part = part

    @abstractmethod
    def batches_of(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch, each with the number of pairs ``n`` of the whole step."""

    @abstractmethod
    def step(self, batch: Any, rate: float) -> float:
        """Take a step on a batch and return its loss; of a part, its share of the loss."""

    @abstractmethod
    def rate_at(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step, counted from 0 in its epoch."""

    def seeded(self, epoch: int, step: int, batch: Any, rate: float) -> float:
        """Take a step with random numbers of its own, so that only the epoch has to survive a crash."""
        torch.manual_seed(hash((self.task.seed, epoch, step)) & 0x7FFF_FFFF_FFFF_FFFF)
        return self.step(batch, rate)

    def losses(self, epoch: int) -> Iterator[tuple[int, float]]:
        """Take the steps of an epoch; yield the number of pairs and the loss of each."""
        self.task.model.train()
        for step, batch in enumerate(self.batches_of(epoch)):
            yield batch.n, self.seeded(epoch, step, batch, self.rate_at(epoch, step))

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Take the steps of an epoch; see `Trainer`."""
        done, total = 0, 0.0
        for step, (n, loss) in enumerate(self.losses(number)):
            if not math.isfinite(loss):
                advice = self.advice(self.rate_at(number, step))
                raise TrainingError(f"the loss must stay finite; got {loss} in epoch {number}{advice}")
            total += loss * n
            done += n
            callbacks.on_step_end(epoch=number, pairs_done=done, loss=total / done)
        return total / done

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the moments of the optimisers."""
        return {f"{name}.{key}": t for name, state in self.state.items() for key, t in state.items()}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over the moments."""
        for place, tensor in tensors.items():
            name, _, key = place.rpartition(".")
            self.state[name][key] = tensor.cpu() if key == "step" else tensor  # as AdamW wants it
