"""The value of a trial on the validation set: one number, and each user's contribution to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config import Config
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.evaluation import held_out_task
from twotower.metrics import group_users
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A metric computed from sums over users, so that it works for any subset of users.

    Attributes:
        name: the metric.
        maximise: whether higher is better.
        root: True for the root of the mean, as in RMSE; False for the mean.
    """

    name: str
    maximise: bool
    root: bool

    def of(self, totals: FloatArray, counts: FloatArray) -> FloatArray:
        """Return the metric from sums; NaN where the count is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = totals / counts
        return np.sqrt(means) if self.root else means

    def better(self, value: float, than: float) -> float:
        """Return how much better one value is than another; negative if it is worse."""
        return value - than if self.maximise else than - value


NDCG = Measure("ndcg@100", maximise=True, root=False)
RMSE = Measure("rmse", maximise=False, root=True)


class Scorer(ABC):
    """Evaluates recommenders, trained on the training set only, on the validation set.

    Attributes:
        measure: the metric.
        epoch_metric: key of the same metric in an epoch's record.
        counts: (n_users,) each user's number of values in the validation set.
    """

    measure: ClassVar[Measure]
    epoch_metric: ClassVar[str]
    counts: FloatArray

    @abstractmethod
    def totals(self, recommender: Recommender) -> FloatArray:
        """Return (n_users,) each user's contribution to the sum behind `measure`."""

    def value(self, totals: FloatArray) -> float:
        """Return the metric over all users."""
        return float(self.measure.of(totals.sum(), self.counts.sum()))


class RankingScorer(Scorer):
    """NDCG@100 over the whole catalogue, the metric that early stopping and the ranking baselines use.

    If no positive of the validation set is a warm item (one in the training set), they are ranked among the
    items of the validation set only.
    """

    measure = NDCG
    epoch_metric = "validation_ndcg@100"

    def __init__(self, config: Config, train: TrainPart, validation: Dataset) -> None:
        rule = PositiveRule.fit(train, config.positive)
        item = train.schema.item
        wanted = rule.select(validation).interactions.get_column(item).unique()
        known = train.interactions.get_column(item).unique().cast(wanted.dtype, strict=False)
        cold = not wanted.is_in(known.implode()).any()
        among = "test_items" if cold or config.evaluation.candidates == "test_items" else "all"
        self._task = held_out_task(
            validation,
            train,
            rule,
            ks=(100,),
            candidates=among,
            exclude_seen=config.evaluation.exclude_seen,
        )
        self.counts = np.ones(len(self._task.users))

    def totals(self, recommender: Recommender) -> FloatArray:
        """Return the NDCG of each user."""
        return self._task.values(recommender).users[self.measure.name]


class RatingScorer(Scorer):
    """RMSE in the label's units; of capped labels if the model learns capped labels."""

    measure = RMSE
    epoch_metric = "validation_rmse"

    def __init__(self, config: Config, train: TrainPart, validation: Dataset) -> None:
        del config, train
        schema = validation.schema
        assert schema.label is not None
        users = validation.interactions.get_column(schema.user)
        self._code = group_users(users.rank("dense").cast(pl.Int64).to_numpy()).code
        self._label = validation.interactions.get_column(schema.label).cast(pl.Float64).to_numpy()
        self._validation = validation
        self.counts = np.bincount(self._code).astype(np.float64)

    def totals(self, recommender: Recommender) -> FloatArray:
        """Return the sum of each user's squared errors."""
        transform = recommender.target.transform
        duration = durations(self._validation) if transform.needs_duration else None
        reachable = transform.inverse(transform.forward(self._label, duration), duration)
        error = recommender.predict(self._validation) - reachable
        return np.bincount(self._code, error * error, minlength=len(self.counts)).astype(np.float64)


def make_scorer(config: Config, train: TrainPart, validation: Dataset) -> Scorer:
    """Return the scorer of a config's task."""
    kind = RankingScorer if config.objective.implicit else RatingScorer
    return kind(config, train, validation)
