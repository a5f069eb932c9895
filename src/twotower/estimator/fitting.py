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
from twotower.estimator.settings import Settings
from twotower.estimator.setup import TrainingSetup, prepare, strength_of
from twotower.evaluation.epochs import RankingEpochs as RankingValidator
from twotower.evaluation.epochs import RatingEpochs as RatingValidator
from twotower.objectives import AllPairs
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.training import (
    Batcher,
    CallbackList,
    Checkpoint,
    IdALS,
    LinearALS,
    PairSquares,
    Record,
    Solver,
    Trainer,
    Validator,
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
        callbacks: called at phases, steps and epochs.
        exclude_seen: whether users are not recommended what they have in the training set.
    """

    settings: Settings
    device: torch.device
    checkpoints: Path | None
    resume: bool
    callbacks: CallbackList
    exclude_seen: bool

    def run(self, train: TrainPart, validation: Dataset) -> Recommender:
        """Train, choose the number of epochs on ``validation``, then refit on both if set to."""
        checkpoints, resume, exclude_seen = self.checkpoints, self.resume, self.exclude_seen
        mark = fingerprint(self.settings, train, validation, exclude_seen)
        rule = PositiveRule.fit(train, self.settings.positive)
        found = Checkpoint.read(checkpoints) if resume and checkpoints is not None else None
        earlier = found.meta["earlier"] if found is not None else {}
        if not earlier:
            setup = self._prepare(train, rule)
            validator = self._validator(setup, train, validation, rule)
            trainer = self._trainer(setup, "train", mark)
            outcome = trainer.run(
                validator,
                epochs=self.settings.training.epochs,
                checkpoints=checkpoints,
                resume=resume,
                callbacks=self.callbacks,
            )
            posterior = self._posterior(setup, validator, outcome.best_epoch)
            history = outcome.history + posterior
            if not self.settings.training.refit:
                return finish(setup, train, rule, history, exclude_seen)
            earlier = {
                "best_epoch": outcome.best_epoch,
                "rates": outcome.rates,
                "history": history,
                "posterior": bool(posterior),
            }
        everything = train.joined(validation)
        setup = self._prepare(everything, rule)
        trainer = self._trainer(setup, "refit", mark)
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
            self._take_posterior(setup)
            self.callbacks.on_phase_end(reason="done")
        return finish(setup, everything, rule, earlier["history"] + refitted.history, exclude_seen)

    def _prepare(self, train: TrainPart, rule: PositiveRule) -> TrainingSetup:
        return prepare(
            train,
            self.settings.model,
            self.settings.objective,
            self.settings.training,
            rule,
            device=self.device,
            seed=self.settings.seed,
        )

    def _validator(
        self,
        setup: TrainingSetup,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
    ) -> Validator:
        if self.settings.objective.implicit:
            return RankingValidator(
                setup,
                train,
                validation,
                rule,
                self.device,
                self.settings.seed,
                exclude_seen=self.exclude_seen,
                least_grade=self.settings.objective.least_grade,
            )
        return RatingValidator(setup, validation, self.device)

    def _posterior(self, setup: TrainingSetup, validator: Validator, epoch: int) -> list[Record]:
        """Replace id vectors by their posterior means if validation improves, and return a record if so."""
        if self.settings.objective.name != "squared" or self.settings.model.normalise:
            return []
        if setup.solved or not self.settings.training.posterior:
            return []
        ids = [tower.ids.weight for tower in (setup.model.users, setup.model.items)]
        trained = [weight.clone() for weight in ids]
        before = validator(setup.model)[validator.by]
        start = time.perf_counter()
        self._take_posterior(setup)
        seconds = time.perf_counter() - start
        metrics = validator(setup.model)
        better = metrics[validator.by] < before
        self.callbacks.on_phase_end(
            reason="better on validation" if better else "no better on validation, left out"
        )
        if better:
            return [{"phase": "posterior", "epoch": epoch, "seconds": seconds, **metrics, "best": True}]
        for weight, old in zip(ids, trained, strict=True):
            weight.copy_(old)
        return []

    def _take_posterior(self, setup: TrainingSetup) -> None:
        n = len(setup.pairs)
        self.callbacks.on_phase_start(phase="posterior", epochs=1, first_epoch=1, pairs=n)
        take_posterior_means(
            setup.model,
            setup.users,
            setup.items,
            setup.pairs,
            strength_of(setup),
            lambda share: self.callbacks.on_step_end(epoch=1, pairs_done=round(share * n), loss=math.nan),
        )

    def _trainer(self, setup: TrainingSetup, phase: str, mark: str) -> Trainer:
        return Trainer(
            setup.model,
            setup.users,
            setup.items,
            Batcher(
                setup.pairs,
                self.settings.training.batch_size,
                self.settings.seed,
                negatives=self.settings.objective.negatives if setup.objective.samples else None,
                whole=setup.objective.whole,
            ),
            setup.objective,
            strength_of(setup),
            self.settings.training,
            self.settings.seed,
            phase,
            mark,
            self._solver(setup),
        )

    def _solver(self, setup: TrainingSetup) -> IdALS | Solver | None:
        """Return the closed-form solver, for objectives that are least squares in the vectors."""
        if self.settings.objective.name == "squared" and setup.solved:
            mean = float(setup.model.mean)
            return Variational(setup.pairs, setup.users, setup.items, mean, strength_of(setup))
        if not isinstance(setup.objective, AllPairs) or self.settings.model.normalise:
            return None
        squares = PairSquares(setup.pairs, setup.config.unobserved_weight, strength_of(setup))
        kind = LinearALS if setup.solved else IdALS
        return kind(squares, setup.users, setup.items)


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
    """Return a hash of the settings and the data that a checkpoint depends on."""
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
