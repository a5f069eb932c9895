"""The training loop: encode each distinct user and item once, run the pair loop, propagate gradients back."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config import TrainingConfig
from twotower.errors import TrainingError
from twotower.evaluation.epochs import EpochValidator as Validator
from twotower.objectives import Objective, Workspace
from twotower.objectives.penalty import penalty_shares, vector_penalty
from twotower.towers import SideArrays, TwoTowerModel
from twotower.training.batches import Batch, Batcher
from twotower.training.callback import CallbackList, Record
from twotower.training.checkpoint import Checkpoint
from twotower.training.id_als import IdALS
from twotower.training.row_adam import RowAdam
from twotower.training.schedule import Schedule
from twotower.training.solver import Solver


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


class Trainer:
    """Trains one model on one set of pairs.

    Args:
        model: the towers, changed in place.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
        batcher: yields batches of the training pairs.
        objective: the loss on vectors and pairs.
        penalty: strength of the L2 penalty on vectors.
        config: the ``[training]`` section.
        seed: random seed of dropout.
        phase: "train" or "refit", for records and checkpoints.
        fingerprint: identifies the run; a checkpoint must have the same one.
        solver: updates the id vectors in closed form after the steps of each epoch, which then leave them
            unchanged; or, for linear towers, all weights, and then there are no steps.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        users: SideArrays,
        items: SideArrays,
        batcher: Batcher,
        objective: Objective,
        penalty: float,
        config: TrainingConfig,
        seed: int,
        phase: str,
        fingerprint: str,
        solver: IdALS | Solver | None = None,
    ) -> None:
        self.model, self.users, self.items, self.batcher = model, users, items, batcher
        self.objective, self.penalty, self.config = objective, penalty, config
        self.seed, self.phase, self.fingerprint = seed, phase, fingerprint
        self.workspace = Workspace()
        pairs = batcher.pairs
        self.user_shares = penalty_shares(np.bincount(pairs.user, minlength=pairs.n_users))
        self.item_shares = penalty_shares(np.bincount(pairs.item, minlength=pairs.n_items))
        self.solver = solver
        if solver is not None:
            model.users.ids.still = model.items.ids.still = True
        self.rows = RowAdam({name: table for name, table in model.row_tables().items() if not table.still})
        self.layers = [p for p in model.parameters() if p.requires_grad]
        self.adam = torch.optim.AdamW(
            self.layers, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.schedule = Schedule.start(config)
        self.history: list[Record] = []
        self.best: dict[str, torch.Tensor] = {}

    def run(
        self,
        validator: Validator | None,
        *,
        epochs: int,
        rates: list[float] | None = None,
        checkpoints: Path | None = None,
        resume: bool = False,
        callbacks: CallbackList,
        earlier: dict[str, Any] | None = None,
    ) -> Outcome:
        """Train, and leave the model with the weights of its best epoch.

        Args:
            validator: evaluates the model after each epoch; without it every epoch is the best so far.
            epochs: maximum number of epochs.
            rates: learning rate of each epoch, instead of the schedule's (used by a refit).
            checkpoints: directory of the checkpoint, written after each epoch.
            resume: whether to continue from the checkpoint there.
            callbacks: called after each step and epoch; one that stops training ends it after the epoch.
            earlier: JSON values of earlier phases, stored in the checkpoint.

        Raises:
            TrainingError: the loss is not finite; or the checkpoint belongs to another run.
            Interrupted: Ctrl-C.
        """
        first = 1
        if resume and checkpoints is not None and (found := Checkpoint.read(checkpoints)) is not None:
            first = self._restore(found) + 1
        callbacks.on_phase_start(
            phase=self.phase, epochs=epochs, first_epoch=first, pairs=len(self.batcher.pairs)
        )
        reason = "all epochs"
        try:
            for epoch in range(first, epochs + 1):
                if self.schedule.stop:
                    reason = "early stopping"
                    break
                if rates is not None:
                    self.schedule.rate = rates[epoch - 1]
                self._record(epoch, validator, callbacks)
                if checkpoints is not None:
                    self._checkpoint(epoch, earlier or {}).write(checkpoints)
                if callbacks.stop_reason is not None:
                    reason = callbacks.stop_reason
                    break
        except KeyboardInterrupt:
            callbacks.on_phase_end(reason="interrupted")
            raise Interrupted("training was interrupted; the last complete epoch is saved") from None
        if self.best:
            self.model.load_state_dict(self.best)
        callbacks.on_phase_end(reason=reason)
        rate_of = [record["learning_rate"] for record in self.history]
        return Outcome(self.schedule.best_epoch, rate_of, self.history)

    def _record(self, epoch: int, validator: Validator | None, callbacks: CallbackList) -> None:
        solved = isinstance(self.solver, Solver)
        rate = 0.0 if solved else self.schedule.step_rate((epoch - 1) / self.config.epochs)
        start = time.perf_counter()
        loss = self._epoch(epoch, callbacks)
        seconds = time.perf_counter() - start
        metrics = validator(self.model) if validator is not None else {}
        judged = -float(epoch) if validator is None else metrics[validator.by]
        if not math.isfinite(judged):
            raise TrainingError(
                _diverged(validator.by.replace("_", " ") if validator else "", judged, epoch, rate)
            )
        best = self.schedule.observe(epoch, -judged if validator and validator.higher_is_better else judged)
        if best and validator is not None:
            self.best = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        record: Record = {
            "phase": self.phase,
            "epoch": epoch,
            "seconds": seconds,
            "train_loss": loss,
            **metrics,
            "learning_rate": rate,
            "pairs_per_second": len(self.batcher.pairs) / seconds,
        }
        if validator is not None:
            record["best"] = best  # so far: the last such epoch is used
        self.history.append(record)
        callbacks.on_epoch_end(record)

    def _epoch(self, epoch: int, callbacks: CallbackList) -> float:
        if isinstance(self.solver, Solver):
            loss = self.solver.solve(self.model)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss must stay finite; got {loss} in epoch {epoch}. Raise "
                    "objective.regularisation, or look for extreme weights"
                )
            callbacks.on_step_end(epoch=epoch, pairs_done=len(self.batcher.pairs), loss=loss)
            return loss
        self.model.train()
        done, total = 0, 0.0
        with torch.random.fork_rng(devices=[]):
            for step, batch in enumerate(self.batcher.epoch(epoch)):
                # a seed per step, so that only the epoch number has to survive a crash
                torch.manual_seed(hash((self.seed, epoch, step)) & 0x7FFF_FFFF_FFFF_FFFF)
                share = (epoch - 1 + step / self.batcher.steps) / self.config.epochs
                loss = self.step(batch, self.schedule.step_rate(share))
                if not math.isfinite(loss):
                    raise TrainingError(_diverged("loss", loss, epoch, self.schedule.step_rate(share)))
                total += loss * len(batch.pairs)
                done += len(batch.pairs)
                callbacks.on_step_end(epoch=epoch, pairs_done=done, loss=total / done)
        if self.solver is not None:
            self.solver.solve(self.model)
        return total / done

    def step(self, batch: Batch, rate: float) -> float:
        """Take a step on a batch and return its loss without the penalty."""
        device = self.users.dense.device
        users, _user_rows = _rows(self.users, batch.users, device)
        items, item_rows = _rows(self.items, batch.items, device)
        self.adam.zero_grad(set_to_none=True)
        self.rows.zero_grad()
        U, V = self.model(users, items)
        gradients, loss = self._gradients(U, V, batch, item_rows)
        torch.autograd.backward([U, V], gradients)
        if self.config.clip_norm is not None and self.layers:
            torch.nn.utils.clip_grad_norm_(self.layers, self.config.clip_norm)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.rows.step(rate)
        return loss

    @torch.no_grad()
    def _gradients(
        self, U: torch.Tensor, V: torch.Tensor, batch: Batch, item_rows: int
    ) -> tuple[list[torch.Tensor], float]:
        """Return dU and dV of the members' losses and penalties, and the mean loss."""
        n = max(len(batch.pairs), 1)
        user_share = self._share(np.diff(batch.pairs.indptr), self.user_shares, batch.users, n)
        counts = np.bincount(batch.pairs.item, minlength=item_rows)
        item_share = self._share(counts, self.item_shares, batch.items, n)
        gradients: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        losses = []
        for u, v in zip(self.model.members(U.detach()), self.model.members(V.detach()), strict=True):
            result = self.objective(
                u.contiguous(), v.contiguous(), batch.pairs, workspace=self.workspace, step=batch.step
            )
            if self.penalty > 0.0:
                vector_penalty(u, v, result.dU, result.dV, user_share, item_share, self.penalty)
            gradients[0].append(result.dU)
            gradients[1].append(result.dV)
            losses.append(result.loss)
        return [torch.cat(part, dim=1) for part in gradients], sum(losses) / len(losses)

    def _share(
        self, counts: NDArray[np.int64], each: NDArray[np.float32], rows: NDArray[np.int64] | None, n: int
    ) -> torch.Tensor:
        share = counts * (each if rows is None else each[rows]) / n
        return torch.from_numpy(share.astype(np.float32)).to(self.users.dense.device)

    def _checkpoint(self, epoch: int, earlier: dict[str, Any]) -> Checkpoint:
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"rows.{name}": t for name, t in self.rows.tensors().items()}
        if isinstance(self.solver, Solver):
            tensors |= {f"solver.{name}": t for name, t in self.solver.state().items()}
        for place, parameter in enumerate(self.layers):
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{place}.{key}"] = value
        # one storage may have several names (shared layers): each gets its own copy
        return Checkpoint(
            {name: tensor.detach().clone() for name, tensor in tensors.items()},
            {
                "fingerprint": self.fingerprint,
                "phase": self.phase,
                "epoch": epoch,
                "schedule": self.schedule.state(),
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
        names = ("model", "best", "rows", "adam", "solver")
        parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in names}
        for name, tensor in found.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor.to(self.users.dense.device)
        self.model.load_state_dict(parts["model"])
        self.best = parts["best"]
        self.rows.load(parts["rows"])
        if isinstance(self.solver, Solver):
            self.solver.restore(parts["solver"])
        for place, parameter in enumerate(self.layers):
            prefix = f"{place}."
            state = {k.removeprefix(prefix): v for k, v in parts["adam"].items() if k.startswith(prefix)}
            if state:
                state["step"] = state["step"].cpu()
                self.adam.state[parameter] = state
        self.schedule = Schedule.from_state(self.config, found.meta["schedule"])
        self.history = list(found.meta["history"])
        return int(found.meta["epoch"])


def _rows(side: SideArrays, rows: NDArray[np.int64] | None, device: torch.device) -> tuple[SideArrays, int]:
    if rows is None:
        return side, side.rows
    return side.take(torch.from_numpy(rows).to(device)), len(rows)


def _diverged(what: str, value: float, epoch: int, rate: float) -> str:
    return (
        f"the {what} must stay finite; got {value} in epoch {epoch} at learning rate {rate:g}. Lower "
        "training.learning_rate, or look for extreme labels or weights (objective.transform = 'cap' helps)"
    )
