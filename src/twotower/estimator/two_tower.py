"""`TwoTower`: the estimator. ``TwoTower(dim=64).fit(train)`` gives a `Recommender`."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numba
import torch
from pydantic import BaseModel, ValidationError

from twotower.config import (
    Config,
    ModelConfig,
    ObjectiveConfig,
    PositiveConfig,
    TrainingConfig,
    check_agreement,
)
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import carve_validation
from twotower.errors import ConfigError, nearest, yes_or_no
from twotower.estimator.finishing import finish
from twotower.estimator.judges import RankingJudge, RatingJudge
from twotower.estimator.preparing import Prepared, prepare, strength_of
from twotower.features.positive import PositiveRule
from twotower.forking import check_process
from twotower.objectives import AllPairs
from twotower.recommender import Recommender
from twotower.schema import explain
from twotower.training import (
    Alternating,
    Batcher,
    Checkpoint,
    Judge,
    Listener,
    PairSquares,
    Record,
    Silent,
    Solver,
    Solving,
    Trainer,
    Variational,
    take_posterior_means,
)

_SECTIONS: dict[str, type[BaseModel]] = {
    "positive": PositiveConfig,
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "training": TrainingConfig,
}
_RENAMED = {"objective": ("objective", "name")}


class TwoTower:
    """A two-tower model to be fitted. It ranks by default; ``objective="squared"`` predicts the label.

    Every setting of the config's ``[model]``, ``[objective]`` and ``[training]`` sections is a keyword
    argument of the same name; ``objective="huber"`` is ``objective.name``. See `twotower.config` for what
    they mean.

    >>> TwoTower(dim=32, objective="huber", learning_rate=0.01).training.learning_rate
    0.01

    Args:
        seed: of weights, batches and dropout.
        settings: as above.

    Raises:
        ConfigError: an unknown setting (the message names the nearest) or a value out of range.
    """

    def __init__(self, *, seed: int = 42, **settings: Any) -> None:
        values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
        if "positive" in settings:
            given = settings.pop("positive")
            values["positive"] = dict(given) if isinstance(given, Mapping) else {"threshold": given}
        for key, value in settings.items():
            section, name = _RENAMED.get(key) or (_section_of(key), key)
            values[section][name] = value
        made: dict[str, Any] = {}
        for section, kind in _SECTIONS.items():
            try:
                made[section] = kind.model_validate(values[section])
            except ValidationError as error:
                raise ConfigError(explain(error, section, kind.model_fields)) from None
        self.positive: PositiveConfig = made["positive"]
        self.model: ModelConfig = made["model"]
        self.objective: ObjectiveConfig = made["objective"]
        self.training: TrainingConfig = made["training"]
        try:
            check_agreement(self.model, self.objective, self.training)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.seed = seed

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the estimator that a config describes."""
        made = cls(seed=config.seed)
        made.positive, made.model = config.positive, config.model
        made.objective, made.training = config.objective, config.training
        return made

    def fit(
        self,
        train: TrainPart,
        validation: Dataset | None = None,
        *,
        checkpoints: Path | None = None,
        resume: bool = False,
        listener: Listener | None = None,
        exclude_seen: bool = True,
    ) -> Recommender:
        """Train on ``train``, choosing the number of epochs on ``validation``.

        Args:
            train: what is learnt from.
            validation: what epochs are judged on; without it a tenth of train's rows, drawn at random.
            checkpoints: directory for a checkpoint after each epoch.
            resume: go on from the checkpoint there, to the same bits as without a break.
            listener: told of every step and epoch.
            exclude_seen: whether users are not to be given what they have in train. Validation ranks by that,
                and so do `Recommender.evaluate` and `Recommender.recommend` where nothing else is said. False
                where people come back to items (music, groceries).

        Raises:
            TypeError: train is not a `TrainPart`.
            ConfigError: the schema names no label; the device is not there; exclude_seen is not a bool.
            TrainingError: the loss does not stay finite; the checkpoint belongs to another run.
            Interrupted: Ctrl-C; the last whole epoch is in the checkpoint.
        """
        check_process()
        if not isinstance(train, TrainPart):
            raise TypeError(
                f"a model is trained on a TrainPart only, got {type(train).__name__}; "
                "use the first part that twotower.split returns, or Dataset.as_train() if all is for training"
            )
        if train.schema.label is None and not self.objective.implicit:
            raise ConfigError(
                f"objective {self.objective.name!r} predicts a label; the schema has none: set schema.label"
            )
        exclude_seen = yes_or_no("exclude_seen", exclude_seen)
        if validation is None:
            train, validation = carve_validation(train, "random", 0.1, self.seed)
        device = pick_device(self.training.device)
        listener = listener or Silent()
        threads = torch.get_num_threads(), numba.get_num_threads()
        if self.training.threads is not None:
            torch.set_num_threads(self.training.threads)
            numba.set_num_threads(min(self.training.threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        try:
            return self._fit(train, validation, device, checkpoints, resume, listener, exclude_seen)
        finally:
            torch.set_num_threads(threads[0])
            numba.set_num_threads(threads[1])

    def _fit(
        self,
        train: TrainPart,
        validation: Dataset,
        device: torch.device,
        checkpoints: Path | None,
        resume: bool,
        listener: Listener,
        exclude_seen: bool,
    ) -> Recommender:
        mark = fingerprint(self, train, validation, exclude_seen)
        rule = PositiveRule.fit(train, self.positive)
        found = Checkpoint.read(checkpoints) if resume and checkpoints is not None else None
        earlier = found.meta["earlier"] if found is not None else {}
        if not earlier:
            prepared = self._prepare(train, rule, device)
            judge = self._judge(prepared, train, validation, rule, device, exclude_seen)
            trainer = self._trainer(prepared, "train", mark)
            outcome = trainer.run(
                judge,
                epochs=self.training.epochs,
                checkpoints=checkpoints,
                resume=resume,
                listener=listener,
            )
            posterior = self._posterior(prepared, judge, outcome.best_epoch, listener)
            history = outcome.history + posterior
            if not self.training.refit:
                return finish(prepared, train, rule, history, exclude_seen)
            earlier = {
                "best_epoch": outcome.best_epoch,
                "rates": outcome.rates,
                "history": history,
                "posterior": bool(posterior),
            }
        everything = train.joined(validation)
        prepared = self._prepare(everything, rule, device)
        trainer = self._trainer(prepared, "refit", mark)
        refitted = trainer.run(
            None,
            epochs=earlier["best_epoch"],
            rates=earlier["rates"],
            checkpoints=checkpoints,
            resume=found is not None and bool(found.meta["earlier"]),
            listener=listener,
            earlier=earlier,
        )
        if earlier["posterior"]:
            self._take_posterior(prepared, listener)
            listener.end(reason="done")
        return finish(prepared, everything, rule, earlier["history"] + refitted.history, exclude_seen)

    def _prepare(self, train: TrainPart, rule: PositiveRule, device: torch.device) -> Prepared:
        return prepare(train, self.model, self.objective, self.training, rule, device=device, seed=self.seed)

    def _judge(
        self,
        prepared: Prepared,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
        device: torch.device,
        exclude_seen: bool,
    ) -> Judge:
        if self.objective.implicit:
            return RankingJudge(
                prepared,
                train,
                validation,
                rule,
                device,
                self.seed,
                exclude_seen=exclude_seen,
                least_grade=self.objective.least_grade,
            )
        return RatingJudge(prepared, validation, device)

    def _posterior(self, prepared: Prepared, judge: Judge, epoch: int, listener: Listener) -> list[Record]:
        """Give the ids their posterior means if the judge finds that better, and then return a record."""
        if self.objective.name != "squared" or self.model.normalise:
            return []
        if prepared.solved or not self.training.posterior:
            return []
        ids = [tower.ids.weight for tower in (prepared.model.users, prepared.model.items)]
        trained = [weight.clone() for weight in ids]
        before = judge(prepared.model)[judge.by]
        start = time.perf_counter()
        self._take_posterior(prepared, listener)
        seconds = time.perf_counter() - start
        metrics = judge(prepared.model)
        better = metrics[judge.by] < before
        listener.end(reason="better on validation" if better else "no better on validation, left out")
        if better:
            return [{"phase": "posterior", "epoch": epoch, "seconds": seconds, **metrics, "best": True}]
        for weight, old in zip(ids, trained, strict=True):
            weight.copy_(old)
        return []

    def _take_posterior(self, prepared: Prepared, listener: Listener) -> None:
        n = len(prepared.pairs)
        listener.start(phase="posterior", epochs=1, first_epoch=1, pairs=n)
        take_posterior_means(
            prepared.model,
            prepared.users,
            prepared.items,
            prepared.pairs,
            strength_of(prepared),
            lambda share: listener.step(epoch=1, pairs_done=round(share * n), loss=math.nan),
        )

    def _trainer(self, prepared: Prepared, phase: str, mark: str) -> Trainer:
        return Trainer(
            prepared.model,
            prepared.users,
            prepared.items,
            Batcher(
                prepared.pairs,
                self.training.batch_size,
                self.seed,
                negatives=self.objective.negatives if prepared.objective.samples else None,
                whole=prepared.objective.whole,
            ),
            prepared.objective,
            strength_of(prepared),
            self.training,
            self.seed,
            phase,
            mark,
            self._solver(prepared),
        )

    def _solver(self, prepared: Prepared) -> Alternating | Solver | None:
        """Return what solves for vectors, where the loss is a least squares in them."""
        if self.objective.name == "squared" and prepared.solved:
            mean = float(prepared.model.mean)
            return Variational(prepared.pairs, prepared.users, prepared.items, mean, strength_of(prepared))
        if not isinstance(prepared.objective, AllPairs) or self.model.normalise:
            return None
        squares = PairSquares(prepared.pairs, prepared.config.unobserved, strength_of(prepared))
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


def fingerprint(estimator: TwoTower, train: Dataset, validation: Dataset, exclude_seen: bool = True) -> str:
    """Return a hash of the settings and of the rows that a checkpoint depends on."""
    digest = hashlib.sha256()
    for section in (estimator.positive, estimator.model, estimator.objective, estimator.training):
        digest.update(json.dumps(section.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(f"{estimator.seed} {torch.get_num_threads()} {numba.get_num_threads()}".encode())
    if not exclude_seen:
        digest.update(b"with what was seen")
    digest.update(json.dumps(train.schema.model_dump(mode="json"), sort_keys=True).encode())
    for part in (train, validation):
        for table in (part.interactions.select(part.role_columns()), part.users, part.items):
            digest.update(f"{table.schema} {table.height}".encode())
            digest.update(table.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def _section_of(key: str) -> str:
    for section, kind in _SECTIONS.items():
        if key in kind.model_fields:
            return section
    known = sorted(name for kind in _SECTIONS.values() for name in kind.model_fields if name != "name")
    raise ConfigError(f"unknown setting {key!r}.{nearest(key, known)} Valid: {', '.join(known)}.")
