"""`Fit`: one training of a `TwoTower`, from the settings and the data to a `Recommender`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numba
import torch

from twotower.config import Config
from twotower.config.parts import trainer_of
from twotower.core.fingerprint import Fingerprint
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.fingerprint import fingerprint_of
from twotower.errors import ConfigError
from twotower.estimator.finishing import finish
from twotower.estimator.joining import joined
from twotower.estimator.on_disk import readable
from twotower.estimator.settings import Settings
from twotower.estimator.setup import TrainingSetup, prepare, rebuilt
from twotower.evaluation.epochs import EpochValidator, RankingEpochs, RatingEpochs
from twotower.features import Encoder
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.training import CallbackList, Checkpoint, Loop, Record, Trainer
from twotower.training.checkpoint import LAYOUT
from twotower.training.choice import Choice
from twotower.training.engine import Engine
from twotower.training.registry import TRAINERS

LEAST_JUDGED = 100
"""Smallest number of users with validation positives from which settings are chosen; with fewer, every "auto"
keeps its default."""


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
        carved: whether the validation set is a part of what was given as the training set. What users have
            in it is seen, also without a refit.
        engine: where it is trained; None for here.
        chosen: called with what was chosen on the validation set.
    """

    settings: Settings
    device: torch.device
    checkpoints: Path | None
    resume: bool
    callbacks: CallbackList
    exclude_seen: bool
    carved: bool = False
    engine: Engine | None = None
    chosen: Callable[[Refit], None] | None = None

    def run(self, train: TrainPart, validation: Dataset, rule: PositiveRule) -> Recommender:
        """Train, choose the number of epochs on ``validation``, then refit on both if set to."""
        train = readable(self.settings.model, train)
        found = Checkpoint.read(self.checkpoints) if self.resume and self.checkpoints is not None else None
        earlier = found.meta["earlier"] if found is not None else {}
        mark = self.mark(train, validation)
        if "best_epoch" not in earlier:
            setup, earlier = self.first(train, validation, rule, mark, choice=earlier.get("choice"))
            self.tell(earlier)
            if not self.settings.training.refit:
                seen = train.joined(validation) if self.carved else train
                return finish(setup, train, rule, earlier["history"], self.exclude_seen, seen=seen)
            del setup  # its towers and pairs are not needed any more
            found = None
        else:
            self.tell(earlier)
        everything = train.joined(validation)
        setup, history = self.again(everything, rule, mark, earlier, resume=found is not None)
        return finish(setup, everything, rule, history, self.exclude_seen)

    def tell(self, earlier: dict[str, Any]) -> None:
        """Call ``chosen``, if it is asked for, with what `first` returned."""
        if self.chosen is not None:
            self.chosen(Refit({self.settings.model.kind: (self, earlier)}, {}, self.settings))

    @property
    def trainer(self) -> type[Trainer]:
        """The trainer of these settings."""
        given = self.settings
        return TRAINERS.get(trainer_of(given.model, given.objective, given.training))

    def mark(self, train: TrainPart, validation: Dataset) -> str:
        """Return the fingerprint of checkpoints; empty without any."""
        if self.checkpoints is None:
            return ""
        return mark_of(self.settings, train, validation, self.exclude_seen)

    def first(
        self,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
        mark: str,
        encoder: Encoder | None = None,
        choice: dict[str, Any] | None = None,
    ) -> tuple[TrainingSetup, dict[str, Any]]:
        """Train on the training set, and return the trained towers and what `again` needs to know.

        Args:
            train, validation: the sets.
            rule: the rule for positives.
            mark: of checkpoints.
            encoder: what encodes features; None for one that is fitted on what is learned.
            choice: what was chosen before a break.
        """
        setup = prepare(self.settings, train, rule, self.device, encoder, self.engine)
        validator = self._validator(setup, train, validation, rule)
        setup, choice = self._chosen(setup, validator, choice)
        outcome = Loop(setup.trainer, "train", mark, self.checkpoints, self.callbacks).run(
            validator,
            epochs=self.settings.training.most_epochs,
            resume=self.resume,
            earlier={"choice": choice},
        )
        refined = setup.trainer.refined(validator, self.callbacks, outcome.best_epoch)
        return setup, {
            "choice": choice,
            "best_epoch": outcome.best_epoch,
            "rates": outcome.rates,
            "history": outcome.history + refined,
            "refined": bool(refined),
        }

    def again(
        self,
        everything: TrainPart,
        rule: PositiveRule,
        mark: str,
        earlier: dict[str, Any],
        *,
        resume: bool,
        encoder: Encoder | None = None,
    ) -> tuple[TrainingSetup, list[Record]]:
        """Train in the same way on training and validation set; return the towers and all records.

        Args:
            everything: both sets.
            rule: the rule for positives.
            mark: of checkpoints.
            earlier: from `first`.
            resume: whether to go on from a checkpoint of this phase.
            encoder: as in `first`.
        """
        settings = self.settings
        if earlier["choice"] is not None:
            settings = settings.with_choice(Choice(**earlier["choice"]))
        setup = prepare(settings, everything, rule, self.device, encoder, self.engine)
        refitted = Loop(setup.trainer, "refit", mark, self.checkpoints, self.callbacks).run(
            None,
            epochs=earlier["best_epoch"],
            rates=earlier["rates"],
            resume=resume,
            earlier=earlier,
        )
        if earlier["refined"]:
            setup.trainer.refine(self.callbacks)
        return setup, earlier["history"] + refitted.history

    def _chosen(
        self, setup: TrainingSetup, validator: EpochValidator, choice: dict[str, Any] | None
    ) -> tuple[TrainingSetup, dict[str, Any] | None]:
        """Return the set-up for what is chosen on validation, and the choice; as it was before a break."""
        settings = self.settings
        if choice is None:
            found = None
            sign = 1.0 if validator.higher_is_better else -1.0
            if validator.users >= LEAST_JUDGED:
                found = type(setup.trainer).choose(
                    settings.model,
                    settings.objective,
                    setup.task,
                    lambda model, objective: (
                        rebuilt(setup, replace(settings, model=model, objective=objective)).trainer
                    ),
                    lambda model: sign * validator(model)[validator.by],
                )
            if found is None:
                return setup, None
            self.callbacks.on_choice(line=str(found))
            choice = asdict(found)
        return rebuilt(setup, settings.with_choice(Choice(**choice))), choice

    def _validator(
        self, setup: TrainingSetup, train: TrainPart, validation: Dataset, rule: PositiveRule
    ) -> EpochValidator:
        objective = self.settings.objective
        if not objective.implicit:
            return RatingEpochs(setup.tables, setup.target, setup.task.objective, validation)
        return RankingEpochs(
            setup.tables,
            train,
            validation,
            rule,
            self.settings.seed,
            exclude_seen=self.exclude_seen,
            least_grade=objective.least_grade,
            context=setup.encoder.context,
        )


@dataclass(frozen=True)
class Refit:
    """What was chosen on the validation set: all it takes to train in the same way on other rows.

    Attributes:
        fits: kind of towers -> its training, and what `Fit.again` needs to know.
        weights: of several kinds, what the scores of each are multiplied by.
        settings: of the estimator.
    """

    fits: Mapping[str, tuple[Fit, dict[str, Any]]]
    weights: Mapping[str, float]
    settings: Settings

    def train(self, train: TrainPart, rule: PositiveRule) -> Recommender:
        """Train on other rows, with the number of epochs and the settings that were chosen."""
        done: dict[str, Recommender] = {}
        encoder = None
        for name, (fit, earlier) in self.fits.items():
            own = replace(fit, checkpoints=None, resume=False, callbacks=CallbackList(()), chosen=None)
            data = readable(own.settings.model, train)
            setup, _ = own.again(data, rule, "", earlier, resume=False, encoder=encoder)
            encoder = setup.encoder
            done[name] = finish(setup, data, rule, [], own.exclude_seen)
        return joined(done, self.weights, self.settings) if len(done) > 1 else next(iter(done.values()))


@contextmanager
def place_of(engine: Engine | None, settings: Settings | Config) -> Iterator[None]:
    """Start an engine within, once it is clear that it can train by the settings; None is this process.

    Raises:
        ConfigError: it can't.
    """
    check_place(engine, settings)
    with engine or nullcontext():
        yield


def check_place(engine: Engine | None, settings: Settings | Config) -> None:
    """Check that an engine can train by the settings.

    Raises:
        ConfigError: it can't.
    """
    if engine is not None:
        given = settings.model, settings.objective
        engine.check(TRAINERS.get(trainer_of(*given, settings.training)), *given)


@contextmanager
def threads_of(n: int | None) -> Iterator[None]:
    """Let torch and Numba use so many threads within, and as before after it; None changes nothing."""
    before = torch.get_num_threads(), numba.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


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


def mark_of(settings: Settings, train: Dataset, validation: Dataset, exclude_seen: bool = True) -> str:
    """Return the fingerprint of the settings and the data that a checkpoint depends on."""
    found = Fingerprint().text(fingerprint_of(train=train, validation=validation))
    if validation.users is not train.users or validation.items is not train.items:
        found.text(fingerprint_of(validation))
    for section in (settings.positive, settings.model, settings.objective, settings.training):
        found.json(section.model_dump(mode="json"))
    threads = [torch.get_num_threads(), numba.get_num_threads()]
    return found.json([LAYOUT, settings.seed, threads, exclude_seen]).hex()
