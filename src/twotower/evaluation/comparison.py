"""Predictions of several models on one test set, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from twotower.data.dataset import Dataset
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.evaluation.rating import RatingEvaluation, RatingStatistics, RatingTable
from twotower.evaluation.showing import ShownComparison
from twotower.metrics import Interval, paired_differences
from twotower.metrics.checks import check_against


@dataclass(frozen=True, repr=False)
class RatingComparison(ShownComparison):
    """Predictions of several models. Made by `compare_ratings`.

    Attributes:
        rows: how many rows each model predicted.
        against: the model that the others are compared with.
        models: model -> its evaluation.
        differences: model -> metric -> model minus ``against``, with the interval of that difference.
        by_seed: model with several seeds -> the metrics of each seed.
    """

    rows: int
    against: str
    models: Mapping[str, RatingEvaluation]
    differences: Mapping[str, Mapping[str, Interval]]
    by_seed: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    counted: ClassVar[str] = "rows"

    def _title(self) -> str:
        return f"{len(self.models)} models, predictions of {self.rows:,} test rows"


def compare_ratings(
    predictions: Mapping[str, ArrayLike],
    test: Dataset,
    train: Dataset | None,
    *,
    against: str,
    cap: float | None = None,
    metrics: OwnMetrics | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RatingComparison:
    """Measure several models on the same rows and the same resampled users.

    The interval of a difference is much narrower than those of the models, since a hard user is hard for all
    models. If it contains 0, the models are not known to differ.

    Args:
        predictions: model -> its predictions (n,) for the rows of ``test``; or (seeds, n) for one model
            with several seeds, whose sums by user are averaged.
        test: n held-out rows with labels.
        train: what all the models were trained on; None for no slices.
        against: the model to compare the others with; one of the names.
        cap: also measure with labels and predictions clipped from above here.
        metrics: your own metrics of predictions, `RatingMetric` objects or classes.
        resamples: bootstrap resamples of the users.
        seed: of the resampling.

    Raises:
        ConfigError: ``against`` is not one of the models; the schema has no label; a setting is out of range.
        DataError: predictions that are not n finite numbers.
    """
    check_against(against, predictions)
    table = RatingTable.of(test, train, MetricSet.of(metrics, test, rating=True, ranking=False))
    each = {name: [table.statistics(one, cap) for one in _by_seed(of)] for name, of in predictions.items()}
    statistics = {name: RatingStatistics.averaged(of) for name, of in each.items()}
    models = {name: table.evaluate(of, resamples=resamples, seed=seed) for name, of in statistics.items()}
    wholes = {name: of.whole for name, of in statistics.items()}
    differences = paired_differences(wholes, against, resamples=resamples, seed=seed)
    by_seed = {name: [one.whole.values() for one in of] for name, of in each.items() if len(of) > 1}
    return RatingComparison(len(table.label), against, models, differences, by_seed)


def _by_seed(predictions: ArrayLike) -> list[ArrayLike]:
    array = np.asarray(predictions)
    return list(array) if array.ndim == 2 else [array]
