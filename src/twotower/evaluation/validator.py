"""`Validator`: what a model is worth on held-out rows, and whether another is worth more.

A validator knows the task (to predict labels or to rank), the metric, which way it is better, and each user's
part in it. So the same object serves a search for settings, the importance of features and the choice of an
epoch: `totals` measures a model, `value` is its metric, and `loss` says whether a difference is real.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.dataset import Dataset
from twotower.errors import ConfigError
from twotower.evaluation.model_evaluation import held_out_task
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker
from twotower.evaluation.ranking_task import RankingTask
from twotower.metrics import Interval, RankingMetric, group_users, metric_of, ranking, rating
from twotower.metrics.bootstrap import percentile_interval
from twotower.targets.positive import PositiveRule

FloatArray = NDArray[np.float64]
Model = TypeVar("Model")

K = 100
"""Length of the lists that settings and epochs are chosen by."""


@dataclass(frozen=True)
class Measure:
    """A metric computed from sums over users, so that it works for any subset of users.

    Attributes:
        name: the metric.
        higher_is_better: its direction.
        root: True for the root of the mean, as in RMSE; False for the mean.
    """

    name: str
    higher_is_better: bool
    root: bool

    def of(self, totals: FloatArray, counts: FloatArray) -> FloatArray:
        """Return the metric from sums; NaN where the count is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = totals / counts
        return np.sqrt(means) if self.root else means

    @property
    def sign(self) -> float:
        """1 if higher is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0

    def better(self, value: float, than: float) -> float:
        """Return how much better one value is than another; negative if it is worse."""
        return value - than if self.higher_is_better else than - value

    @classmethod
    def of_lists(cls, metric: RankingMetric, k: int) -> Measure:
        """Return a metric of lists, which has a direction, at a cut-off."""
        return cls(f"{metric.name}@{k}", bool(metric.higher_is_better), root=False)


NDCG = Measure.of_lists(ranking.NDCG(), K)
RMSE = Measure(rating.RMSE.name, rating.RMSE.higher_is_better, root=True)


class Validator(ABC, Generic[Model]):
    """Measures models on held-out rows.

    Attributes:
        measure: the metric.
        counts: (n_users,) each user's number of values among the rows.
    """

    measure: Measure
    counts: FloatArray

    @abstractmethod
    def totals(self, model: Model) -> FloatArray:
        """Return (n_users,) each user's contribution to the sum behind `measure`."""

    def value(self, totals: FloatArray) -> float:
        """Return the metric over all users."""
        return float(self.measure.of(totals.sum(), self.counts.sum()))

    def worth(self, model: Model) -> float:
        """Measure a model: the metric over all users."""
        return self.value(self.totals(model))

    def loss(self, before: FloatArray, after: FloatArray, draws: FloatArray) -> Interval:
        """Return by how much ``after`` is worse than ``before``, with its paired 95% interval over users.

        Args:
            before, after: `totals` (n_users,) of two models, or means of several.
            draws: (resamples, n_users) how often each user is drawn; see `user_draws`.
        """
        drawn = [
            self.measure.of(*(np.stack([totals, self.counts]) @ draws.T)) for totals in (before, after)
        ]  # (resamples,) each
        value, sign = self.value(before) - self.value(after), self.measure.sign
        return percentile_interval(sign * value, sign * (drawn[0] - drawn[1]), len(self.counts), 0.95)


class RankingValidator(Validator[Ranker]):
    """Measures lists by one metric, for users with positives among the held-out rows."""

    def __init__(self, task: RankingTask, measure: Measure = NDCG) -> None:
        self.task, self.measure = task, measure
        self.counts = np.ones(len(task.users))

    @classmethod
    def of(
        cls,
        held_out: Dataset,
        train: Dataset,
        rule: PositiveRule,
        *,
        metric: str = ranking.NDCG.name,
        k: int = K,
        candidates: str = "all",
        exclude_seen: bool = True,
    ) -> Self:
        """Return the validator of a registered metric at ``k``; see `held_out_task`.

        Raises:
            ConfigError: there is no such metric of lists, or it has no direction.
        """
        found = metric_of(metric)
        if not isinstance(found, RankingMetric) or found.higher_is_better is None or not found.cut:
            raise ConfigError(
                f"models can be judged by a metric of lists with a direction and cut-offs, got {metric!r}"
            )
        task = held_out_task(held_out, train, rule, ks=(k,), candidates=candidates, exclude_seen=exclude_seen)
        return cls(task, Measure.of_lists(found, k))

    def totals(self, model: Ranker) -> FloatArray:
        """Return the metric of each user."""
        metrics = MetricSet.only(self.measure.name.partition("@")[0])
        return self.task.values(model, metrics=metrics).users[self.measure.name]


class RatingValidator(Validator[Predictor]):
    """Measures RMSE in the label's units.

    Args:
        held_out: rows with labels.
        cap: of labels and predictions, None for none; ``"learned"`` for labels as the model has learned them,
            such as capped ones.
    """

    measure = RMSE

    def __init__(self, held_out: Dataset, cap: float | str | None = None) -> None:
        schema = held_out.schema
        assert schema.label is not None
        users = held_out.interactions.get_column(schema.user)
        self.held_out, self.cap = held_out, cap
        self.label = held_out.interactions.get_column(schema.label).cast(pl.Float64).to_numpy()
        self.code = group_users(users.rank("dense").cast(pl.Int64).to_numpy()).code
        self.counts = np.bincount(self.code).astype(np.float64)

    def totals(self, model: Predictor) -> FloatArray:
        """Return the sum of each user's squared errors."""
        found, label = model.predict(self.held_out), self.label
        if self.cap == "learned":
            label = model.learned(self.held_out)
        elif isinstance(self.cap, float | int):
            found, label = np.minimum(found, self.cap), np.minimum(label, self.cap)
        error = found - label
        return np.bincount(self.code, error * error, minlength=len(self.counts)).astype(np.float64)


def are_cold(positives: Dataset, train: Dataset) -> bool:
    """Return whether none of the items of some positives has training interactions.

    They come after all other items, so that their places in the whole catalogue would say nothing: they are
    then ranked among each other.
    """
    items = positives.interactions.get_column(positives.schema.item).unique()
    known = train.ids("item").cast(items.dtype, strict=False)
    return not items.is_in(known.implode()).any()


def some_users(data: Dataset, most: int, seed: int) -> Dataset:
    """Return the rows of at most so many users, drawn at random."""
    user = data.schema.user
    users = data.interactions.get_column(user).unique().sort()
    if len(users) <= most:
        return data
    drawn = users.gather(np.sort(np.random.default_rng(seed).choice(len(users), most, replace=False)))
    return data.with_interactions(data.interactions.filter(pl.col(user).is_in(drawn.implode())))
