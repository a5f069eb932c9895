"""How well held-out labels are predicted: every rating metric with its interval, overall and by slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.data.dataset import Dataset
from twotower.data.predictor import Predictor
from twotower.errors import ConfigError
from twotower.evaluation.slices import Slices, slices_of
from twotower.metrics import Interval, UserGroups, UserStatistics, group_users, intervals, user_statistics

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SliceResult:
    """The metrics over some rows of the test part.

    Attributes:
        rows: how many rows.
        users: how many users have one of them.
        metrics: name -> value and interval.
        bounds: least and greatest train count or duration among the rows, of slices that are cut by one.
    """

    rows: int
    users: int
    metrics: Mapping[str, Interval]
    bounds: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rows", "users", "metrics"}`` for JSON, with ``"bounds"`` where there are any."""
        bounds = {} if self.bounds is None else {"bounds": list(self.bounds)}
        return {"rows": self.rows, "users": self.users, **bounds, "metrics": metrics_dict(self.metrics)}


@dataclass(frozen=True)
class RatingEvaluation:
    """One model on a test part. Made by `evaluate_rating`.

    Attributes:
        rows: how many rows were predicted.
        metrics: name -> value and interval, over all of them.
        slices: group -> slice -> result; see `twotower.evaluation.slices.slices_of`.
    """

    rows: int
    metrics: Mapping[str, Interval]
    slices: Mapping[str, Mapping[str, SliceResult]]

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rows", "metrics", "slices"}`` for JSON; a number that is not defined is None."""
        return {
            "rows": self.rows,
            "metrics": metrics_dict(self.metrics),
            "slices": {
                group: {name: result.as_dict() for name, result in members.items()}
                for group, members in self.slices.items()
            },
        }


def evaluate_rating(
    predictions: Predictor | ArrayLike,
    test: Dataset,
    train: Dataset,
    *,
    cap: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RatingEvaluation:
    """Measure predictions of the labels of ``test``, in the label's own units.

    Every slice has every metric, XAUC too: within one band of durations XAUC can't be earned by knowing the
    duration. XAUC is also what costs: a group of slices takes about as long as the whole, so 4.7 M rows in
    all four groups took 21 s on one core. The intervals of all slices come from the same draws of users.

    Args:
        predictions: a model to ask, or its predictions (n,) for the rows of ``test`` in their order.
        test: n held-out rows with labels.
        train: what the model was trained on: says which users and items are cold, and cuts the bands.
        cap: also measure with labels and predictions clipped from above here.
        resamples: resamples of users behind each interval.
        seed: of the draws.

    Raises:
        ConfigError: the schema has no label, or a setting is out of range.
        DataError: predictions that are not n finite numbers.
    """
    prediction = predictions.predict(test) if isinstance(predictions, Predictor) else predictions
    table = RatingTable.of(test, train)
    return table.evaluate(table.statistics(prediction, cap), prediction, resamples=resamples, seed=seed)


@dataclass(frozen=True)
class RatingTable:
    """What all models measured on one test part share.

    Attributes:
        groups: the rows' users.
        label: (n,).
        slices: the rows of each slice.
    """

    groups: UserGroups
    label: FloatArray
    slices: Slices

    @classmethod
    def of(cls, test: Dataset, train: Dataset) -> RatingTable:
        """Read users, labels and slices of a test part."""
        schema = test.schema
        if schema.label is None:
            raise ConfigError(
                "rating metrics need labels and the schema names none; set schema.label to their column"
            )
        users = test.interactions.get_column(schema.user)
        # Ranks of strings, like integer ids, ascend with the id: a permuted table gives the same draws.
        ids = users if users.dtype.is_integer() else users.rank("dense").cast(pl.Int64)
        label = test.interactions.get_column(schema.label).cast(pl.Float64).to_numpy()
        return cls(group_users(ids.to_numpy()), label, slices_of(test, train))

    def statistics(self, prediction: ArrayLike, cap: float | None) -> UserStatistics:
        """Sum up one model's rows by user."""
        return user_statistics(self.groups, self.label, prediction, cap=cap)

    def evaluate(
        self, whole: UserStatistics, prediction: ArrayLike, *, resamples: int, seed: int
    ) -> RatingEvaluation:
        """Measure one model, given its statistics over all rows."""
        metrics = intervals(whole, resamples=resamples, seed=seed)
        rows = len(self.label)
        results: dict[str, dict[str, SliceResult]] = {}
        for group, members in self.slices.items():
            results[group] = {}
            for name, part in members.items():
                size = int(part.where.sum())
                if size == rows:  # "warm" mostly; sparing it the sorting of all rows halves the time
                    statistics, measured = whole, metrics
                else:
                    statistics = user_statistics(
                        self.groups, self.label, prediction, cap=whole.cap, where=part.where
                    )
                    measured = intervals(statistics, resamples=resamples, seed=seed)
                results[group][name] = SliceResult(
                    size, statistics.users_behind("mae"), measured, part.bounds
                )
        return RatingEvaluation(rows, metrics, results)


def metrics_dict(metrics: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Return metrics for JSON: name -> ``{"value", "low", "high"}``."""
    return {name: interval.as_dict() for name, interval in metrics.items()}
