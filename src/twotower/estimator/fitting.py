"""`Fit`: one training of a `TwoTower`, from the settings and the data to a `Recommender`."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError
from twotower.estimator.finishing import finish
from twotower.estimator.judges import RankingJudge, RatingJudge
from twotower.estimator.preparing import Prepared, prepare, strength_of
from twotower.estimator.settings import Settings
from twotower.features.positive import PositiveRule
from twotower.objectives import AllPairs
from twotower.recommender import Recommender
from twotower.training import (
    Alternating,
    Batcher,
    CallbackList,
    Checkpoint,
    Judge,
    PairSquares,
    Record,
    Solver,
    Solving,
    Trainer,
    Variational,
    take_posterior_means,
)


@dataclass(frozen=True)
class Fit:
    """Trains by settings, on a device, with checkpoints.

    Attributes:
        settings: of the estimator.
        device: of towers and features.
        checkpoints: directory of the checkpoint; None for none.
        resume: whether to go on from the checkpoint there.
        callbacks: told of every step and epoch.
        exclude_seen: whether users are not recommended what they have in the training set.
    """

    settings: Settings
    device: torch.device
    checkpoints: Path | None
    resume: bool
    callbacks: CallbackList
    exclude_seen: bool

    def run(self, train: TrainPart, validation: Dataset) -> Recommender:
        """Train, choosing the number of epochs on ``validation``, and once more on both if told to refit."""
        checkpoints, resume, exclude_seen = self.checkpoints, self.resume, self.exclude_seen
        mark = fingerprint(self.settings, train, validation, exclude_seen)
        rule = PositiveRule.fit(train, self.settings.positive)
        found = Checkpoint.read(checkpoints) if resume and checkpoints is not None else None
        earlier = found.meta["earlier"] if found is not None else {}
        if not earlier:
            prepared = self._prepare(train, rule)
            judge = self._judge(prepared, train, validation, rule)
            trainer = self._trainer(prepared, "train", mark)
            outcome = trainer.run(
                judge,
                epochs=self.settings.training.epochs,
                checkpoints=checkpoints,
                resume=resume,
                callbacks=self.callbacks,
            )
            posterior = self._posterior(prepared, judge, outcome.best_epoch)
            history = outcome.history + posterior
            if not self.settings.training.refit:
                return finish(prepared, train, rule, history, exclude_seen)
            earlier = {
                "best_epoch": outcome.best_epoch,
                "rates": outcome.rates,
                "history": history,
                "posterior": bool(posterior),
            }
        everything = train.joined(validation)
        prepared = self._prepare(everything, rule)
        trainer = self._trainer(prepared, "refit", mark)
        refitted = trainer.run(
            None,
            epochs=earlier["best_epoch"],
            rates=earlier["rates"],
            checkpoints=checkpoints,
            resume=found is not None and bool(found.meta["earlier"]),
            callbacks=self.callbacks,
            earlier=earlier,
        )
        if earlier["posterior"]:
            self._take_posterior(prepared)
            self.callbacks.on_phase_end(reason="done")
        return finish(prepared, everything, rule, earlier["history"] + refitted.history, exclude_seen)

    def _prepare(self, train: TrainPart, rule: PositiveRule) -> Prepared:
        return prepare(
            train,
            self.settings.model,
            self.settings.objective,
            self.settings.training,
            rule,
            device=self.device,
            seed=self.settings.seed,
        )

    def _judge(
        self,
        prepared: Prepared,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
    ) -> Judge:
        if self.settings.objective.implicit:
            return RankingJudge(
                prepared,
                train,
                validation,
                rule,
                self.device,
                self.settings.seed,
                exclude_seen=self.exclude_seen,
                least_grade=self.settings.objective.least_grade,
            )
        return RatingJudge(prepared, validation, self.device)

    def _posterior(self, prepared: Prepared, judge: Judge, epoch: int) -> list[Record]:
        """Give the ids their posterior means if the judge finds that better, and then return a record."""
        if self.settings.objective.name != "squared" or self.settings.model.normalise:
            return []
        if prepared.solved or not self.settings.training.posterior:
            return []
        ids = [tower.ids.weight for tower in (prepared.model.users, prepared.model.items)]
        trained = [weight.clone() for weight in ids]
        before = judge(prepared.model)[judge.by]
        start = time.perf_counter()
        self._take_posterior(prepared)
        seconds = time.perf_counter() - start
        metrics = judge(prepared.model)
        better = metrics[judge.by] < before
        self.callbacks.on_phase_end(
            reason="better on validation" if better else "no better on validation, left out"
        )
        if better:
            return [{"phase": "posterior", "epoch": epoch, "seconds": seconds, **metrics, "best": True}]
        for weight, old in zip(ids, trained, strict=True):
            weight.copy_(old)
        return []

    def _take_posterior(self, prepared: Prepared) -> None:
        n = len(prepared.pairs)
        self.callbacks.on_phase_start(phase="posterior", epochs=1, first_epoch=1, pairs=n)
        take_posterior_means(
            prepared.model,
            prepared.users,
            prepared.items,
            prepared.pairs,
            strength_of(prepared),
            lambda share: self.callbacks.on_step_end(epoch=1, pairs_done=round(share * n), loss=math.nan),
        )

    def _trainer(self, prepared: Prepared, phase: str, mark: str) -> Trainer:
        return Trainer(
            prepared.model,
            prepared.users,
            prepared.items,
            Batcher(
                prepared.pairs,
                self.settings.training.batch_size,
                self.settings.seed,
                negatives=self.settings.objective.negatives if prepared.objective.samples else None,
                whole=prepared.objective.whole,
            ),
            prepared.objective,
            strength_of(prepared),
            self.settings.training,
            self.settings.seed,
            phase,
            mark,
            self._solver(prepared),
        )

    def _solver(self, prepared: Prepared) -> Alternating | Solver | None:
        """Return what solves for vectors, where the loss is a least squares in them."""
        if self.settings.objective.name == "squared" and prepared.solved:
            mean = float(prepared.model.mean)
            return Variational(prepared.pairs, prepared.users, prepared.items, mean, strength_of(prepared))
        if not isinstance(prepared.objective, AllPairs) or self.settings.model.normalise:
            return None
        squares = PairSquares(prepared.pairs, prepared.config.unobserved_weight, strength_of(prepared))
        kind = Solving if prepared.solved else Alternating
        return kind(squares, prepared.users, prepared.items)


def pick_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"training.device {name!r} can't be used here ({reason}); use 'auto' or 'cpu'"
        ) from None
    return device


def fingerprint(settings: Settings, train: Dataset, validation: Dataset, exclude_seen: bool = True) -> str:
    """Return a hash of the settings and of the rows that a checkpoint depends on."""
    digest = hashlib.sha256()
    for section in (settings.positive, settings.model, settings.objective, settings.training):
        digest.update(json.dumps(section.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(f"{settings.seed} {torch.get_num_threads()} {numba.get_num_threads()}".encode())
    if not exclude_seen:
        digest.update(b"with what was seen")
    digest.update(json.dumps(train.schema.model_dump(mode="json"), sort_keys=True).encode())
    for part in (train, validation):
        for table in (part.interactions.select(part.role_columns()), part.users, part.items):
            digest.update(f"{table.schema} {table.height}".encode())
            digest.update(table.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()
