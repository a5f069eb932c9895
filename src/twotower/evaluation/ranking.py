"""Ranking metrics of held-out positives in the whole catalogue, with intervals and comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from twotower.data.dataset import Dataset
from twotower.errors import ConfigError
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.evaluation.ranker import Ranker
from twotower.evaluation.ranking_slices import RankingSlices, ranking_slices
from twotower.evaluation.ranking_task import Candidates, FloatArray, RankingTask, RankingValues
from twotower.evaluation.rating import SliceResult, slices_dict
from twotower.evaluation.showing import Shown, ShownComparison, metrics_dict
from twotower.metrics import Interval, Metric, mean_differences, mean_intervals
from twotower.metrics.checks import check_against

_WHOLE = ("", "")  # all rows, not a slice


@dataclass(frozen=True, repr=False)
class RankingEvaluation(Shown):
    """The evaluation of a ranker on held-out rows. Made by `evaluate_ranking`.

    Attributes:
        users: number of users with a relevant item.
        items: number of items in the catalogue.
        positives: number of relevant (user, item) pairs.
        left_out: held-out rows that are not relevant, by reason; see `RankingTask`.
        metrics: name (``"recall@20"``) -> value and interval; coverage and Gini index have no interval.
        slices: group -> slice -> result, whose rows are relevant pairs; see `ranking_slices`. Slices of items
            have only recall and NDCG.
        own: your own metrics by their names in ``metrics``.
    """

    users: int
    items: int
    positives: int
    left_out: Mapping[str, int]
    metrics: Mapping[str, Interval]
    slices: Mapping[str, Mapping[str, SliceResult]]
    own: Mapping[str, Metric] = field(default_factory=dict)

    def _title(self) -> str:
        return f"Rankings of {self.items:,} items for {self.users:,} users"

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON; undefined numbers are None."""
        return {
            "users": self.users,
            "items": self.items,
            "positives": self.positives,
            "left_out": dict(self.left_out),
            "metrics": metrics_dict(self.metrics),
            "slices": slices_dict(self.slices),
        }


@dataclass(frozen=True, repr=False)
class RankingComparison(ShownComparison):
    """Several rankers on one test set. Made by `compare_rankings`.

    Attributes:
        users: number of users that lists were ranked for.
        against: the model that the others are compared with.
        models: model -> its evaluation.
        differences: model -> metric -> model minus ``against``, with the interval of that difference.
        by_seed: model with several seeds -> the metrics of each seed.
    """

    users: int
    against: str
    models: Mapping[str, RankingEvaluation]
    differences: Mapping[str, Mapping[str, Interval]]
    by_seed: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    counted: ClassVar[str] = "users"

    def _title(self) -> str:
        return f"{len(self.models)} models, rankings for {self.users:,} users"


def evaluate_ranking(
    ranker: Ranker,
    test_positives: Dataset,
    train: Dataset,
    *,
    ks: Sequence[int] = (10, 20, 100),
    candidates: Candidates | None = None,
    barred_seen: bool = True,
    metrics: OwnMetrics | None = None,
    resamples: int = 1000,
    seed: int = 0,
    slices: bool = True,
) -> RankingEvaluation:
    """Rank the whole catalogue for each user with held-out positives, and measure the lists.

    Negatives are never sampled, since that can reverse the order of two models (Krichene & Rendle, KDD
    2020). To measure often, such as after each epoch, prepare one `RankingTask` and call ``measure``.

    Args:
        ranker: the model.
        test_positives: held-out interactions, all of them positives. A pair of user and item counts once.
        train: all interactions that the model has seen.
        ks: where to cut the lists off.
        candidates: interactions or a frame of (user, item) pairs: the only items that are ranked for a user,
            and that can be relevant; or a series of items, the same for every user. None is the whole
            catalogue.
        barred_seen: exclude items that the user has in the training set; they don't count as relevant either.
        metrics: your own metrics of lists; see `Recommender.evaluate`.
        resamples: bootstrap resamples of the users.
        seed: of the resampling.
        slices: also measure by slice.

    Raises:
        ConfigError: a setting is out of range.
        DataError: no user has a relevant item left; ids or columns that don't match the training set; the
            ranker returned invalid lists.
    """
    task = RankingTask.prepare(test_positives, train, ks=ks, candidates=candidates, barred_seen=barred_seen)
    measured = MetricSet.of(metrics, test_positives, rating=False, ranking=True)
    return evaluate_values(
        task, ranker, train if slices else None, metrics=measured, resamples=resamples, seed=seed
    )[0]


def evaluate_values(
    task: RankingTask,
    ranker: Ranker,
    train: Dataset | None,
    *,
    metrics: MetricSet | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[RankingEvaluation, RankingValues]:
    """Like `evaluate_ranking`, for a prepared task; also return each user's values.

    Without ``train`` there are no slices; ``metrics`` are all registered ones by default.
    """
    cut = RankingSlices({}, {}) if train is None else ranking_slices(task, train)
    values = _measured(task, ranker, cut, metrics)
    return _evaluate(task, values, cut, metrics, resamples=resamples, seed=seed), values


def compare_rankings(
    rankings: Mapping[str, Ranker],
    test_positives: Dataset,
    train: Dataset,
    *,
    against: str,
    ks: Sequence[int] = (10, 20, 100),
    candidates: Candidates | None = None,
    barred_seen: bool = True,
    metrics: OwnMetrics | None = None,
    resamples: int = 1000,
    seed: int = 0,
    slices: bool = True,
) -> RankingComparison:
    """Measure several rankers on the same users and the same resamples of them.

    The interval of a difference is much narrower than those of the models, since a hard user is hard for all
    models. If it contains 0, the models are not known to differ. Coverage and Gini index have differences
    without intervals.

    Args:
        rankings: model -> ranker.
        against: the model to compare the others with; one of the names.
        test_positives: as for `evaluate_ranking`.
        train: the training set of all models.
        ks: where to cut the lists off.
        candidates: the only items that are ranked for each user.
        barred_seen: exclude items that the user has in the training set.
        metrics: your own metrics of lists; see `Recommender.evaluate`.
        resamples: bootstrap resamples of the users.
        seed: of the resampling.
        slices: also measure each model by slice.

    Raises:
        ConfigError: ``against`` is not one of the models, or a setting is out of range.
        DataError: as for `evaluate_ranking`.
    """
    check_against(against, rankings)
    task = RankingTask.prepare(test_positives, train, ks=ks, candidates=candidates, barred_seen=barred_seen)
    return compare_on_task(
        task,
        rankings.items(),
        train if slices else None,
        against=against,
        metrics=MetricSet.of(metrics, test_positives, rating=False, ranking=True),
        resamples=resamples,
        seed=seed,
    )


def compare_on_task(
    task: RankingTask,
    rankings: Iterable[tuple[str, Ranker | Sequence[Ranker]]],
    train: Dataset | None,
    *,
    against: str,
    metrics: MetricSet | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RankingComparison:
    """Like `compare_rankings`, for a prepared task; without ``train`` there are no slices.

    Rankers are measured one at a time as the iterable yields them, so they need not all be in memory.
    Rankers with the same name are one model with several seeds: their values are averaged, user by user.

    Raises:
        ConfigError: ``against`` is not one of the rankers.
    """
    cut = RankingSlices({}, {}) if train is None else ranking_slices(task, train)
    values, by_seed = {}, {}
    for name, ranker in rankings:
        if not isinstance(ranker, Ranker | Sequence):
            raise ConfigError(
                f"a ranker must be a Ranker, got {type(ranker).__name__} for {name!r}; derive its class from "
                "twotower.evaluation.Ranker and implement rank(queries, k)"
            )
        several = [ranker] if isinstance(ranker, Ranker) else ranker
        each = [_measured(task, one, cut, metrics) for one in several]
        values[name] = RankingValues.averaged(each)
        if len(each) > 1:
            by_seed[name] = [one.means() for one in each]
    check_against(against, values)
    models = {
        name: _evaluate(task, measured, cut, metrics, resamples=resamples, seed=seed)
        for name, measured in values.items()
    }
    differences = mean_differences(
        {name: measured.users for name, measured in values.items()}, against, resamples=resamples, seed=seed
    )
    base = values[against].whole
    for name, of in differences.items():
        of |= {metric: _alone(value - base[metric]) for metric, value in values[name].whole.items()}
    return RankingComparison(len(task.users), against, models, differences, by_seed)


def _measured(
    task: RankingTask, ranker: Ranker, slices: RankingSlices, metrics: MetricSet | None
) -> RankingValues:
    parts = {
        (group, name): part.where for group, members in slices.items.items() for name, part in members.items()
    }
    return task.values(ranker, parts, metrics)


def _evaluate(
    task: RankingTask,
    values: RankingValues,
    slices: RankingSlices,
    measured_by: MetricSet | None,
    *,
    resamples: int,
    seed: int,
) -> RankingEvaluation:
    """Add intervals to one ranker's values; all slices use the same resampled users."""
    parts: dict[tuple[str, str], Mapping[str, FloatArray]] = {_WHOLE: values.users}
    for group, members in slices.users.items():
        for name, part in members.items():
            inside = np.where(part.where, 0.0, np.nan)  # (n_users,); adding it takes the others out
            parts[group, name] = {metric: of + inside for metric, of in values.users.items()}
    parts |= values.parts
    flat = {(key, metric): of for key, metrics in parts.items() for metric, of in metrics.items()}
    measured = mean_intervals(flat, resamples=resamples, seed=seed)
    metrics = {key: {metric: measured[key, metric] for metric in of} for key, of in parts.items()}

    of_pair = task.relevant.owners()  # (n_relevant,)
    results: dict[str, dict[str, SliceResult]] = {}
    for group, members in (slices.users | slices.items).items():
        results[group] = {}
        for name, part in members.items():
            pairs = part.where[of_pair] if group in slices.users else part.where
            results[group][name] = SliceResult(
                int(pairs.sum()), len(np.unique(of_pair[pairs])), metrics[group, name], part.bounds
            )
    return RankingEvaluation(
        users=len(task.users),
        items=len(task.items),
        positives=len(of_pair),
        left_out=task.left_out,
        metrics=metrics[_WHOLE] | {name: _alone(value) for name, value in values.whole.items()},
        slices=results,
        own={} if measured_by is None else measured_by.results(rating=False, ks=task.ks),
    )


def _alone(value: float) -> Interval:
    """Return a value without an interval."""
    return Interval(value, math.nan, math.nan)
