"""The loop of all trainers: epochs, validation, early stopping, callbacks, checkpoints and resuming."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch

from twotower.errors import TrainingError
from twotower.evaluation.epochs import EpochValidator
from twotower.training.callback import CallbackList, Record
from twotower.training.checkpoint import Checkpoint
from twotower.training.early_stopping import EarlyStopping
from twotower.training.trainer import Trainer


class Interrupted(TrainingError):
    """Training was interrupted by the user; the checkpoint has the last complete epoch."""


@dataclass(frozen=True)
class Outcome:
    """The result of a training phase.

    Attributes:
        best_epoch: epoch whose weights the model now has, counted from 1.
        rates: learning rate at the start of each epoch.
        history: one record per epoch.
    """

    best_epoch: int
    rates: list[float]
    history: list[Record]


class Loop:
    """One phase of training.

    Args:
        trainer: finds the weights, an epoch at a time.
        phase: "train" or "refit", for records and checkpoints.
        fingerprint: identifies the run; a checkpoint must have the same one.
        checkpoints: directory of the checkpoint, written after each epoch; None for none.
        callbacks: called after each step and epoch; one that stops training ends it after the epoch.
    """

    def __init__(
        self,
        trainer: Trainer,
        phase: str,
        fingerprint: str,
        checkpoints: Path | None,
        callbacks: CallbackList,
    ) -> None:
        self.trainer, self.model = trainer, trainer.task.model
        self.phase, self.fingerprint = phase, fingerprint
        self.checkpoints, self.callbacks = checkpoints, callbacks
        self.progress = EarlyStopping(trainer.config.patience, trainer.least_gain)
        self.history: list[Record] = []
        self.best: dict[str, torch.Tensor] = {}

    def run(
        self,
        validator: EpochValidator | None,
        *,
        epochs: int,
        rates: list[float] | None = None,
        resume: bool = False,
        earlier: dict[str, Any] | None = None,
    ) -> Outcome:
        """Train, and leave the model with the weights of its best epoch.

        Args:
            validator: evaluates the model after each epoch; without it every epoch is the best so far.
            epochs: maximum number of epochs.
            rates: learning rate of each epoch, instead of the schedule's (used by a refit).
            resume: whether to continue from the checkpoint.
            earlier: JSON values of earlier phases, stored in the checkpoint.

        Raises:
            TrainingError: the loss or a weight is not finite; or the checkpoint belongs to another run.
            Interrupted: Ctrl-C.
        """
        first, callbacks = 1, self.callbacks
        if resume and self.checkpoints is not None:
            found = Checkpoint.read(self.checkpoints)
            first = 1 if found is None else self._restore(found) + 1
        n = len(self.trainer.task.pairs)
        callbacks.on_phase_start(phase=self.phase, epochs=epochs, first_epoch=first, pairs=n)
        reason = "all epochs"
        try:
            for epoch in range(first, epochs + 1):
                if self.progress.stop:
                    reason = "early stopping"
                    break
                if rates is not None:
                    self.trainer.set_rate(rates[epoch - 1])
                self._epoch(epoch, validator)
                if self.checkpoints is not None:
                    self._checkpoint(epoch, earlier or {}).write(self.checkpoints)
                if callbacks.stop_reason is not None:
                    reason = callbacks.stop_reason
                    break
        except KeyboardInterrupt:
            callbacks.on_phase_end(reason="interrupted")
            raise Interrupted("training was interrupted; the last complete epoch is saved") from None
        if self.best:
            self.trainer.take(self.best)
        callbacks.on_phase_end(reason=reason)
        rate_of = [record["learning_rate"] for record in self.history]
        return Outcome(self.progress.best_epoch, rate_of, self.history)

    def _epoch(self, epoch: int, validator: EpochValidator | None) -> None:
        rate = self.trainer.rate(epoch)
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            # by the epoch's number, so that a resumed run draws the same
            torch.manual_seed(hash((self.trainer.task.seed, epoch)) & 0x7FFF_FFFF_FFFF_FFFF)
            loss = self.trainer.epoch(epoch, self.callbacks)
        seconds = time.perf_counter() - start
        self._check_finite(loss, epoch, rate)
        metrics = validator(self.model) if validator is not None else {}
        judged = -float(epoch) if validator is None else metrics[validator.by]
        if not math.isfinite(judged):
            what = validator.by.replace("_", " ") if validator else ""
            raise TrainingError(
                f"the {what} must stay finite; got {judged} in epoch {epoch}{self.trainer.advice(rate)}"
            )
        best = self.progress.observe(epoch, -judged if validator and validator.higher_is_better else judged)
        self.trainer.observe(best=best)
        if best and validator is not None:
            self.best = self.trainer.snapshot()
        record: Record = {
            "phase": self.phase,
            "epoch": epoch,
            "seconds": seconds,
            "train_loss": float(loss),
            **metrics,
            "learning_rate": rate,
            "pairs_per_second": len(self.trainer.task.pairs) / seconds,
        }
        if validator is not None:
            record["best"] = best  # so far: the last such epoch is used
        self.history.append(record)
        self.callbacks.on_epoch_end(record)

    def _check_finite(self, loss: float, epoch: int, rate: float) -> None:
        task, trainer = self.trainer.task, type(self.trainer).__name__
        if not isinstance(loss, Real) or isinstance(loss, bool) or not math.isfinite(loss):
            raise TrainingError(
                f"the loss must stay finite; trainer {trainer} returned {str(loss)[:80]} in epoch {epoch}"
                f"{self.trainer.advice(rate)}"
            )
        for name, weight in self.model.state_dict().items():
            # the extremes take no memory, and are nan if any number is
            if weight.numel() and not all(math.isfinite(one) for one in torch.aminmax(weight.detach())):
                raise TrainingError(
                    f"weights must stay finite; those named {name!r} contain nan or infinity after epoch "
                    f"{epoch} of trainer {trainer} by objective '{task.settings.name}' and towers "
                    f"'{self.model.config.kind}'{self.trainer.advice(rate)}"
                )

    def _checkpoint(self, epoch: int, earlier: dict[str, Any]) -> Checkpoint:
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"trainer.{name}": t for name, t in self.trainer.tensors().items()}
        return Checkpoint(
            {name: tensor.detach() for name, tensor in tensors.items()},
            {
                "fingerprint": self.fingerprint,
                "phase": self.phase,
                "epoch": epoch,
                "progress": self.progress.state(),
                "trainer": self.trainer.values(),
                "history": self.history,
                "earlier": earlier,
            },
        )

    def _restore(self, found: Checkpoint) -> int:
        if found.meta["fingerprint"] != self.fingerprint:
            raise TrainingError(
                "the checkpoint is from a run with other settings or other data; use the settings it was "
                "started with, or another --out"
            )
        device = self.trainer.task.users.dense.device
        parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in ("model", "best", "trainer")}
        for name, tensor in found.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor.to(device)
        self.trainer.take(parts["model"])
        self.best = parts["best"]
        self.trainer.restore(parts["trainer"], found.meta["trainer"])
        self.progress = EarlyStopping.from_state(found.meta["progress"])
        self.history = list(found.meta["history"])
        return int(found.meta["epoch"])
