"""`Fit`: one training of a `TwoTower`, from the settings and the data to a `Recommender`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError
from twotower.estimator.finishing import finish
from twotower.estimator.settings import Settings
from twotower.estimator.setup import TrainingSetup, prepare
from twotower.evaluation.epochs import RankingEpochs as RankingValidator
from twotower.evaluation.epochs import RatingEpochs as RatingValidator
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.training import CallbackList, Checkpoint, Loop, Trainer, Validator


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
            outcome = self._loop(setup.trainer, "train", mark).run(
                validator, epochs=self.settings.training.epochs, resume=resume
            )
            refined = setup.trainer.refined(validator, self.callbacks, outcome.best_epoch)
            history = outcome.history + refined
            if not self.settings.training.refit:
                return finish(setup, train, rule, history, exclude_seen)
            earlier = {
                "best_epoch": outcome.best_epoch,
                "rates": outcome.rates,
                "history": history,
                "refined": bool(refined),
            }
        everything = train.joined(validation)
        setup = self._prepare(everything, rule)
        refitted = self._loop(setup.trainer, "refit", mark).run(
            None,
            epochs=earlier["best_epoch"],
            rates=earlier["rates"],
            resume=found is not None and bool(found.meta["earlier"]),
            earlier=earlier,
        )
        if earlier["refined"]:
            setup.trainer.refine(self.callbacks)
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

    def _loop(self, trainer: Trainer, phase: str, mark: str) -> Loop:
        return Loop(trainer, phase, mark, self.checkpoints, self.callbacks)

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
