"""Evaluate a model on a test set: how well it predicts labels, and how well it ranks the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError, nearest
from twotower.evaluation.beside import POPULARITY, BesidePopularity
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker
from twotower.evaluation.ranking import RankingEvaluation, evaluate_values
from twotower.evaluation.ranking_task import Candidates, RankingTask
from twotower.evaluation.rating import (
    RatingEvaluation,
    RatingTable,
    SliceResult,
)
from twotower.evaluation.showing import Shown, metrics_dict
from twotower.evaluation.stages import FirstStage, StagesEvaluation
from twotower.metrics import Interval, Metric
from twotower.targets.positive import PositiveRule

_MANY = 0.1
"""A note is added above this share of test positives that are in the training set."""
CANDIDATES = ("all", "test_items", "test_pairs")
"""The items ranked for a user: the whole catalogue, items with rows in the test set, or items that the user
has rows with there."""


_MOST = 20
"""Metrics that `_Metrics` shows."""


class _Metrics(dict[str, Interval]):
    """Metrics by name; an unknown name is an error that lists the valid ones."""

    def __repr__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.items()]
        more = [f"{len(lines) - _MOST} more in .to_frame()"] if len(lines) > _MOST else []
        return "\n".join([*lines[:_MOST], *more])

    def __missing__(self, name: object) -> Interval:
        cut = ""
        if isinstance(name, str) and "@" in name:
            cut = " Cut-offs are set by evaluate(test, ks=...)."
        raise KeyError(
            f"no metric {name!r}.{nearest(str(name).lower(), self)}{cut} Measured: {', '.join(self)}."
        )


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """One model on a test set. Made by `Recommender.evaluate`.

    Attributes:
        rows: number of interactions in the test set.
        rating: metrics of predicted labels; None if the model does not predict.
        ranking: metrics of the ranked catalogue; None if switched off, or if there is no relevant item.
        notes: what was not measured, and why.
        popularity: the ranking compared with popularity; None without a ranking.
        stages: what each of two stages does; None of a model with one.
    """

    rows: int
    rating: RatingEvaluation | None
    ranking: RankingEvaluation | None
    notes: tuple[str, ...] = ()
    popularity: BesidePopularity | None = None
    stages: StagesEvaluation | None = None

    @property
    def metrics(self) -> dict[str, Interval]:
        """Every metric over the whole test set, of rating (``"rmse"``) and ranking (``"ndcg@10"``)."""
        return _Metrics(
            {name: value for part in self._parts().values() for name, value in part.metrics.items()}
        )

    @property
    def slices(self) -> dict[str, Mapping[str, Mapping[str, SliceResult]]]:
        """``"rating"`` and ``"ranking"`` -> group -> slice -> result, if measured."""
        return {name: part.slices for name, part in self._parts().items()}

    def _title(self) -> str:
        what = [f"Evaluation on {self.rows:,} test rows"]
        if self.ranking is not None:
            what.append(f"{self.ranking.items:,} items ranked for {self.ranking.users:,} users")
        return ", ".join(what)

    def each_slice(self) -> Iterator[tuple[str, str, SliceResult]]:
        """Yield group, slice and result of every slice, of predictions first."""
        for part in self._parts().values():
            yield from part.each_slice()

    def _beside(self) -> tuple[str, Mapping[str, Interval]]:
        return ("", {}) if self.popularity is None else (POPULARITY, self.popularity.metrics)

    def _own(self) -> Mapping[str, Metric]:
        return {name: metric for part in self._parts().values() for name, metric in part.own.items()}

    def _notes(self) -> list[str]:
        said = [one.says for one in (self.popularity, self.stages) if one is not None]
        return [*said, *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rating", "ranking", "rows", "ranked", "popularity", "slices", "notes"}`` for JSON.

        The first two are metric -> ``{"value", "low", "high"}``, empty if not measured; "ranked" has
        the number of users, items and relevant pairs, and how many test positives were left out and why;
        "popularity" is `BesidePopularity.as_dict`. A model with two stages also has "stages", see
        `StagesEvaluation.as_dict`.
        """
        ranked = {}
        if self.ranking is not None:
            of = self.ranking
            ranked = {
                "users": of.users,
                "items": of.items,
                "positives": of.positives,
                "left_out": dict(of.left_out),
            }
        return {
            "rating": {} if self.rating is None else metrics_dict(self.rating.metrics),
            "ranking": {} if self.ranking is None else metrics_dict(self.ranking.metrics),
            "rows": self.rows,
            "ranked": ranked,
            "popularity": {} if self.popularity is None else self.popularity.as_dict(),
            "slices": {name: part.as_dict()["slices"] for name, part in self._parts().items()},
            "notes": list(self.notes),
            **({} if self.stages is None else {"stages": self.stages.as_dict()}),
        }

    def _parts(self) -> dict[str, RatingEvaluation | RankingEvaluation]:
        parts = {"rating": self.rating, "ranking": self.ranking}
        return {name: part for name, part in parts.items() if part is not None}


def held_out_task(
    test: Dataset,
    train: Dataset,
    positive: PositiveRule,
    *,
    ks: Sequence[int] = (10, 20, 100),
    candidates: str = "all",
    exclude_seen: bool = True,
) -> RankingTask:
    """Prepare a test set for ranking: its positives are relevant.

    Args:
        test: held-out interactions, positives or not.
        train: all interactions that the models have seen.
        positive: selects the positives.
        ks: where to cut the lists off.
        candidates: one of `CANDIDATES`.
        exclude_seen: whether to exclude items in the user's training set; such pairs of the test set are
            not relevant either.

    Raises:
        ConfigError: a setting is out of range.
        DataError: there is no positive, or none that could be recommended.
    """
    if candidates not in CANDIDATES:
        raise ConfigError(
            f"candidates must be one of {', '.join(CANDIDATES)}; got {candidates!r}."
            f"{nearest(candidates, CANDIDATES)}"
        )
    among: Candidates | None = None
    if candidates == "test_items":
        among = test.interactions.get_column(test.schema.item)
    elif candidates == "test_pairs":
        among = test
    positives = positive.select(test)  # an error if there are none
    positives = test.with_interactions(test.interactions.filter(pl.Series(positive.positive(test))))
    return RankingTask.prepare(positives, train, ks=ks, candidates=among, barred_seen=exclude_seen)


def evaluate_model(
    model: Predictor,
    test: Dataset,
    train: Dataset,
    positive: PositiveRule,
    *,
    rating: bool = True,
    ranking: bool = True,
    metrics: OwnMetrics | None = None,
    cap: float | None = None,
    ks: Sequence[int] = (10, 20, 100),
    candidates: str = "all",
    exclude_seen: bool = True,
    least_grade: float = 0.2,
    resamples: int = 1000,
    seed: int = 0,
    towers: FirstStage | None = None,
) -> Evaluation:
    """Measure a model's predictions and, if it is a `Ranker`, its ranking on held-out interactions.

    If the test set of a model that predicts has no positives, only the predictions are measured, and a
    note says so. For a model that only ranks it is an error.

    Args:
        model: the model.
        test: the held-out interactions.
        train: what the model was trained on.
        positive: which held-out interactions count as relevant in the ranking.
        rating: whether it predicts labels.
        ranking: whether to rank.
        metrics: your own metrics; see `Recommender.evaluate`.
        cap: also report rating metrics with labels and predictions capped here.
        ks: where ranked lists are cut off.
        candidates: one of `CANDIDATES`.
        exclude_seen: as for `held_out_task`.
        least_grade: grade of the lowest label, for popularity by grades.
        resamples: bootstrap resamples of the users.
        seed: of the resampling.
        towers: of a model with two stages, where the second one gets its candidates.

    Raises:
        ConfigError: a setting is out of range, or there is nothing to measure.
        DataError: a model that only ranks has no relevant items in the test set.
    """
    if not rating and not (ranking and isinstance(model, Ranker)):
        raise ConfigError(
            "a model that predicts no label is evaluated by its ranking, which is switched off; set "
            "ranking to true"
        )
    ranks = ranking and isinstance(model, Ranker)
    measured = MetricSet.of(metrics, test, rating=rating, ranking=ranks)
    rated = None
    if rating:
        table = RatingTable.of(test, train, measured)
        rated = table.evaluate(table.statistics(model.predict(test), cap), resamples=resamples, seed=seed)
    if not (ranks and isinstance(model, Ranker)):
        return Evaluation(len(test), rated, None)
    try:
        task = held_out_task(test, train, positive, ks=ks, candidates=candidates, exclude_seen=exclude_seen)
    except DataError as error:
        if rated is None:
            raise
        return Evaluation(len(test), rated, None, (f"ranking was not measured: {error}",))
    ranked, values = evaluate_values(task, model, train, metrics=measured, resamples=resamples, seed=seed)
    beside = BesidePopularity.measure(
        task,
        values,
        train,
        positive,
        predicts=rating,
        least_grade=least_grade,
        resamples=resamples,
        seed=seed,
    )
    stages = None
    if towers is not None:
        of = (task, values, model, towers)
        stages = StagesEvaluation.measure(*of, resamples=resamples, seed=seed)
    notes = (*_notes(ranked, ks), *measured.notes(values.users, task.ks))
    return Evaluation(len(test), rated, ranked, notes, beside, stages)


def _notes(ranked: RankingEvaluation, ks: Sequence[int]) -> tuple[str, ...]:
    """Return notes on positives that were left out, and on lists as long as the catalogue."""
    notes = []
    seen, positives = ranked.left_out["seen"], ranked.positives + sum(ranked.left_out.values())
    if seen >= _MANY * positives:
        notes.append(
            f"{seen:,} of {positives:,} test positives ({seen / positives:.0%}) are left out of the ranking: "
            "the user has the item in the training set. Where people come back to items (music, groceries), "
            "set evaluation.exclude_seen = false"
        )
    whole = [k for k in ks if k > ranked.items]
    if whole:
        longer = ", ".join(map(str, whole))
        notes.append(f"the catalogue has {ranked.items:,} items, so lists of {longer} contain all of it")
    return tuple(notes)
