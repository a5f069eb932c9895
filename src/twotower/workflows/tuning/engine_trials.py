"""Trials on the workers of an engine: what a worker gets, does and returns."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from twotower.config import Config
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import TrainingError
from twotower.estimator import TwoTower
from twotower.evaluation import RankingValidator, RatingValidator
from twotower.evaluation.validator import FloatArray, Measure
from twotower.training import Callback, Record


@dataclass(frozen=True, eq=False)
class TrialData:
    """What all trials need; see `Search`."""

    train: TrainPart
    validation: Dataset
    validator: RankingValidator | RatingValidator


@dataclass(frozen=True)
class AskedTrial:
    """A config to try, and when to stop.

    Attributes:
        config: the config.
        seconds: that there are for it.
        medians: of the values of other trials at some epochs: one whose best value is worse is stopped.
    """

    config: Config
    seconds: float
    medians: Mapping[int, float] = field(default_factory=dict)


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


class _Hopeless(Exception):
    """Most other trials were better at the same epoch."""


class _Kept(Callback):
    """Keeps the records of epochs, and ends a trial that is out of time or worse than most others."""

    def __init__(self, outcome: Outcome, asked: AskedTrial, measure: Measure) -> None:
        self._outcome, self._deadline = outcome, time.monotonic() + asked.seconds
        self._medians, self._sign = asked.medians, 1.0 if measure.higher_is_better else -1.0
        self._name, self._best = f"validation_{measure.name}", -math.inf

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Check the time limit."""
        del epoch, pairs_done, loss
        if time.monotonic() > self._deadline:
            raise _OutOfTime

    def on_epoch_end(self, record: Record) -> None:
        """Keep the record, and compare its value with other trials at the same epoch."""
        self._outcome.records.append(dict(record))
        epoch = int(record["epoch"])
        self._best = max(self._best, self._sign * float(record[self._name]))
        if epoch in self._medians and self._best < self._sign * self._medians[epoch]:
            raise _Hopeless(f"most other trials were better at epoch {epoch}")


def tried(data: TrialData, asked: AskedTrial) -> Outcome:
    """Train a config, and measure it on the validation set."""
    outcome, config = Outcome(), asked.config
    training = config.training.model_copy(update={"refit": False})
    estimator = TwoTower.from_config(config.model_copy(update={"training": training}))
    try:
        kept = _Kept(outcome, asked, data.validator.measure)
        recommender = estimator.fit(data.train, data.validation, callbacks=[kept], progress=False)
    except _OutOfTime:
        return outcome
    except (TrainingError, _Hopeless) as error:
        outcome.problem = str(error)
        return outcome
    outcome.totals = data.validator.totals(recommender)
    return outcome
