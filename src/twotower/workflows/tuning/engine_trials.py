"""Trials on the workers of an engine: what a worker gets, does and returns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from twotower.config import Config
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import TrainingError
from twotower.estimator import TwoTower
from twotower.evaluation import RankingValidator, RatingValidator
from twotower.evaluation.validator import FloatArray
from twotower.training import Callback, Record


@dataclass(frozen=True, eq=False)
class TrialData:
    """What all trials need; see `Search`."""

    train: TrainPart
    validation: Dataset
    validator: RankingValidator | RatingValidator


@dataclass(frozen=True)
class AskedTrial:
    """A config to try, and the seconds that there are for it."""

    config: Config
    seconds: float


@dataclass
class Outcome:
    """The result of a trial.

    Attributes:
        totals: each user's contribution to the value; None if the trial did not finish.
        records: of its epochs.
        problem: why it could not be trained; empty if it could, or if it ran out of time.
    """

    totals: FloatArray | None = None
    records: list[Record] = field(default_factory=list)
    problem: str = ""


class _OutOfTime(Exception):
    """The time limit is reached."""


class _Kept(Callback):
    """Keeps the records of epochs, and ends a trial that is out of time."""

    def __init__(self, outcome: Outcome, seconds: float) -> None:
        self._outcome, self._deadline = outcome, time.monotonic() + seconds

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Check the time limit."""
        del epoch, pairs_done, loss
        if time.monotonic() > self._deadline:
            raise _OutOfTime

    def on_epoch_end(self, record: Record) -> None:
        """Keep the record."""
        self._outcome.records.append(dict(record))


def tried(data: TrialData, asked: AskedTrial) -> Outcome:
    """Train a config, and measure it on the validation set."""
    outcome, config = Outcome(), asked.config
    training = config.training.model_copy(update={"refit": False})
    estimator = TwoTower.from_config(config.model_copy(update={"training": training}))
    try:
        kept = _Kept(outcome, asked.seconds)
        recommender = estimator.fit(data.train, data.validation, callbacks=[kept], progress=False)
    except _OutOfTime:
        return outcome
    except TrainingError as error:
        outcome.problem = str(error)
        return outcome
    outcome.totals = data.validator.totals(recommender)
    return outcome
