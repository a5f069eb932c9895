"""Rating metrics of predicted labels, with intervals, overall and by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.data.dataset import Dataset
from twotower.errors import ConfigError
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.showing import Shown, headline, metrics_dict
from twotower.evaluation.slices import Slices, slices_of
from twotower.metrics import Interval, Metric, RatingMetric, UserGroups, UserStatistics, group_users
from twotower.metrics.bootstrap import intervals_of_all
from twotower.metrics.checks import float_column
from twotower.metrics.pair_order import Ranking, rank_values
from twotower.metrics.statistics import Measured

FloatArray = NDArray[np.float64]
_SHOWN = 6  # metrics in the text of a slice


@dataclass(frozen=True, repr=False)
class SliceResult:
    """The metrics over some rows of the test set.

    Attributes:
        rows: number of rows.
        users: number of users with such rows.
        metrics: name -> value and interval.
        bounds: least and greatest train count or duration among the rows, for slices of these.
    """

    rows: int
    users: int
    metrics: Mapping[str, Interval]
    bounds: tuple[float, float] | None = None

    def __repr__(self) -> str:
        names = headline(self.metrics)[:_SHOWN]
        measured = ", ".join(f"{name} {self.metrics[name]:.4f}" for name in names)
        return f"{self.rows:,} rows of {self.users:,} users: {measured}"

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rows", "users", "metrics"}`` for JSON, with ``"bounds"`` if there are any."""
        bounds = {} if self.bounds is None else {"bounds": list(self.bounds)}
        return {"rows": self.rows, "users": self.users, **bounds, "metrics": metrics_dict(self.metrics)}


@dataclass(frozen=True, repr=False)
class RatingEvaluation(Shown):
    """The evaluation of predictions on a test set. Made by `evaluate_rating`.

    Attributes:
        rows: number of predicted rows.
        metrics: name -> value and interval, over all of them.
        slices: group -> slice -> result; see `twotower.evaluation.slices.slices_of`.
        own: your own metrics by their names in ``metrics``.
    """

    rows: int
    metrics: Mapping[str, Interval]
    slices: Mapping[str, Mapping[str, SliceResult]]
    own: Mapping[str, Metric] = field(default_factory=dict)

    def _title(self) -> str:
        return f"Predictions of {self.rows:,} test rows"

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rows", "metrics", "slices"}`` for JSON; undefined numbers are None."""
        return {
            "rows": self.rows,
            "metrics": metrics_dict(self.metrics),
            "slices": slices_dict(self.slices),
        }


def evaluate_rating(
    predictions: Predictor | ArrayLike,
    test: Dataset,
    train: Dataset,
    *,
    cap: float | None = None,
    metrics: OwnMetrics | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RatingEvaluation:
    """Measure predictions of the labels of ``test``, in the label's own units.

    Every slice has every metric, XAUC too: within one band of durations, knowing the duration does not raise
    XAUC. XAUC takes most of the time; the slices share its sorting and run in several threads. The
    intervals of all slices come from the same resampled users.

    Args:
        predictions: a model, or its predictions (n,) for the rows of ``test`` in their order.
        test: n held-out rows with labels.
        train: the training set of the model: decides which users and items are cold, and the bands.
        cap: also measure with labels and predictions clipped from above here.
        metrics: your own metrics of predictions, `RatingMetric` objects or classes.
        resamples: bootstrap resamples of the users.
        seed: of the resampling.

    Raises:
        ConfigError: the schema has no label, or a setting is out of range.
        DataError: predictions that are not n finite numbers.
    """
    prediction = predictions.predict(test) if isinstance(predictions, Predictor) else predictions
    table = RatingTable.of(test, train, MetricSet.of(metrics, test, rating=True, ranking=False))
    return table.evaluate(table.statistics(prediction, cap), resamples=resamples, seed=seed)


@dataclass(frozen=True)
class RatingStatistics:
    """One model's sums by user.

    Attributes:
        whole: sums over all rows.
        slices: (group, slice) -> over the rows of the slice; slices of all rows are left out.
    """

    whole: UserStatistics
    slices: Mapping[tuple[str, str], UserStatistics]

    @classmethod
    def averaged(cls, models: Sequence[RatingStatistics]) -> RatingStatistics:
        """Return the mean of several models' sums over the same rows; see `UserStatistics.averaged`."""
        slices = {
            key: UserStatistics.averaged([model.slices[key] for model in models]) for key in models[0].slices
        }
        return cls(UserStatistics.averaged([model.whole for model in models]), slices)


@dataclass(frozen=True)
class RatingTable:
    """What all models evaluated on one test set share.

    Attributes:
        groups: the rows' users.
        label: (n,).
        ranking: the labels sorted.
        slices: the rows of each slice.
        metrics: what is measured.
    """

    groups: UserGroups
    label: FloatArray
    ranking: Ranking
    slices: Slices
    metrics: MetricSet

    @classmethod
    def of(cls, test: Dataset, train: Dataset | None, metrics: MetricSet) -> RatingTable:
        """Read users and labels of a test set and, given the training set, its slices."""
        schema = test.schema
        if schema.label is None:
            raise ConfigError(
                "rating metrics need labels, but the schema has none; set schema.label to their column"
            )
        users = test.interactions.get_column(schema.user)
        # Ranks of strings, like integer ids, ascend with the id: a permuted table gives the same draws.
        ids = users if users.dtype.is_integer() else users.rank("dense").cast(pl.Int64)
        groups = group_users(ids.to_numpy())
        label = float_column("label", test.interactions.get_column(schema.label).cast(pl.Float64).to_numpy())
        with ThreadPoolExecutor(1) as pool:  # beside the slices: neither fills more than one core
            ranking = pool.submit(rank_values, label)
            slices = {} if train is None else slices_of(test, train)
            return cls(groups, label, ranking.result(), slices, metrics)

    def statistics(self, prediction: ArrayLike, cap: float | None) -> RatingStatistics:
        """Sum up one model's rows by user, over all of them and over each slice."""
        of = self.metrics.of_kind(RatingMetric)
        rows = Measured.of(self.groups, self.label, prediction, cap=cap, ranking=self.ranking, measured=of)
        masks = {
            (group, name): part.where
            for group, members in self.slices.items()
            for name, part in members.items()
            if not part.where.all()  # "warm" mostly holds all rows, which are summed up once
        }
        whole, *slices = rows.statistics(list(masks.values()))
        return RatingStatistics(whole, dict(zip(masks, slices, strict=True)))

    def evaluate(self, statistics: RatingStatistics, *, resamples: int, seed: int) -> RatingEvaluation:
        """Measure one model, given its statistics."""
        whole, slices = statistics.whole, statistics.slices
        metrics, *of_slices = intervals_of_all([whole, *slices.values()], resamples=resamples, seed=seed)
        measured = dict(zip(slices, of_slices, strict=True))
        results = {
            group: {
                name: SliceResult(
                    int(np.count_nonzero(part.where)),
                    int(np.count_nonzero(slices.get((group, name), whole).sums["rows"])),
                    measured.get((group, name), metrics),
                    part.bounds,
                )
                for name, part in members.items()
            }
            for group, members in self.slices.items()
        }
        own = self.metrics.results(rating=True, cap=whole.cap)
        return RatingEvaluation(len(self.label), metrics, results, own)


def slices_dict(slices: Mapping[str, Mapping[str, SliceResult]]) -> dict[str, Any]:
    """Return slices for JSON: group -> slice -> `SliceResult.as_dict`."""
    return {group: {name: of.as_dict() for name, of in members.items()} for group, members in slices.items()}
