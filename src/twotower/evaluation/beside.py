"""A ranking compared with popularity, the same list for everybody."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from twotower.config.parts import first_that
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.durations import durations
from twotower.data.grouped import GroupedData
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.evaluation.ranking_task import RankingTask, RankingValues
from twotower.evaluation.showing import metrics_dict
from twotower.metrics import Interval, mean_differences, mean_intervals, verdict_on
from twotower.metrics.registry import main_metric, title_of
from twotower.retrieval import exact_top_k
from twotower.targets.positive import PositiveRule

POPULARITY = "popularity"


class ByPopularity(Ranker):
    """Ranks items by popularity: the number of their positives, or the sum of their grades.

    Attributes:
        counted: ``positives`` or ``grades``.
        worth: columns ``item`` and ``worth``, the popularity score; other items have 0.
    """

    name = POPULARITY

    def __init__(self, counted: str, worth: pl.DataFrame) -> None:
        self.counted, self.worth = counted, worth

    @classmethod
    def each(cls, train: Dataset, rule: PositiveRule, least_grade: float) -> Iterator[ByPopularity]:
        """Yield popularity by positives and, where there are labels, by grades.

        Args:
            train: all interactions, positives or not.
            rule: selects the positives and grades the labels.
            least_grade: the grade of the lowest label; the highest has 1.
        """
        if isinstance(train, GroupedData):
            yield from (cls(name, worth) for name, worth in _by_row(train, rule, least_grade))
            return
        schema, labelled = train.schema, train.labelled
        pairs = train.interactions.select(user=schema.user, item=schema.item)
        positive = pairs.filter(pl.Series(rule.positive(train))) if labelled or not rule.selects else pairs
        yield cls("positives", positive.group_by("item").agg(pl.col("user").n_unique().alias("worth")))
        if labelled and rule.order is not None:
            grade = pl.Series(rule.graded(train.labels(), durations(train), least_grade))
            highest = pairs.with_columns(grade=grade).group_by("user", "item").agg(pl.col("grade").max())
            yield cls("grades", highest.group_by("item").agg(pl.col("grade").sum().alias("worth")))

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank the catalogue in one order for all users; see `Ranker.rank`."""
        counted = self.worth.get_column("worth").to_numpy()
        worth = Vocabulary(self.worth.get_column("item")).take(counted, queries.items, 0)
        # ranks of the distinct values, which are exact in float32
        level = np.unique(worth, return_inverse=True)[1].astype(np.float32)
        ones = np.ones((len(queries.users), 1), dtype=np.float32)
        return exact_top_k(ones, level[:, None], k, seen=queries.barred).items


def _by_row(train: GroupedData, rule: PositiveRule, least_grade: float) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield what `ByPopularity.each` counts, from interactions grouped by user, block by block."""
    events, labelled = train.events, train.labelled
    names = ["positives", "grades"] if labelled and rule.order is not None else ["positives"]
    sums = {name: np.zeros(len(events.items)) for name in names}
    last = {name: np.full(len(events.items), -1, np.int32) for name in names}  # the last user with an item
    best = {name: np.zeros(len(events.items)) for name in names}  # and the highest value there
    for block in events.blocks():
        values = {"positives": np.ones(len(block.item))}
        if labelled:
            label = block.columns["label"].astype(np.float64)
            of = None if train.schema.duration is None else durations(train.part(block))
            values["positives"] = rule.are_positive(label, of).astype(np.float64)
            if "grades" in sums:
                values["grades"] = rule.graded(label, of, least_grade)
        for name in names:
            _add_highest(block.user, block.item, values[name], sums[name], last[name], best[name])
    for name, worth in sums.items():
        yield name, pl.DataFrame({"item": events.items, "worth": worth}).filter(pl.col("worth") > 0)


@njit(cache=True, nogil=True)
def _add_highest(user, item, value, sums, last, best):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add the highest value of each pair of user and item to the item's sum; users ascend."""
    for p in range(len(item)):
        i, v = item[p], value[p]
        if last[i] != user[p]:
            last[i], best[i] = user[p], 0.0
        if v > best[i]:
            sums[i] += v - best[i]
            best[i] = v


@dataclass(frozen=True, repr=False)
class BesidePopularity:
    """A model's ranking compared with popularity, for the same users.

    Attributes:
        counted: how popularity is counted, by ``positives`` or ``grades``, whichever ranks better here.
        metrics: of popularity, name (``"ndcg@10"``) -> value and interval.
        difference: the model minus popularity, with the interval of that difference.
        model: of the model, as ``metrics``.
        predicts: whether the model was trained to predict labels rather than to rank.
    """

    counted: str
    metrics: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    model: Mapping[str, Interval]
    predicts: bool = False

    @classmethod
    def measure(
        cls,
        task: RankingTask,
        ours: RankingValues,
        train: Dataset,
        rule: PositiveRule,
        *,
        predicts: bool,
        least_grade: float,
        resamples: int,
        seed: int,
    ) -> BesidePopularity:
        """Measure popularity on a task, and compare it with a model's values."""
        head = MetricSet.headline()
        values = {
            one.counted: task.values(one, metrics=head) for one in ByPopularity.each(train, rule, least_grade)
        }
        names = list(next(iter(values.values())).users)
        last = f"{main_metric(names).partition('@')[0]}@{task.ks[-1]}"
        counted = max(values, key=lambda one: values[one].means()[last])
        users = {
            name: {metric: measured.users[metric] for metric in names}
            for name, measured in ((POPULARITY, values[counted]), ("model", ours))
        }
        difference = mean_differences(users, POPULARITY, resamples=resamples, seed=seed)["model"]
        each = {name: mean_intervals(of, resamples=resamples, seed=seed) for name, of in users.items()}
        return cls(counted, each[POPULARITY], difference, each["model"], predicts)

    @property
    def metric(self) -> str:
        """Name of the main metric, at the first cut-off."""
        return main_metric(self.difference)

    @property
    def verdict(self) -> str:
        """What the difference in the main metric says of the model; see `verdict_on`."""
        found = self.difference[self.metric]
        return verdict_on(found.value, found.low, found.high, higher_is_better=True)

    @property
    def says(self) -> str:
        """The verdict in a sentence, with its figures."""
        metric, found = self.metric, self.difference[self.metric]
        begins = {
            "better": "Its ranking is better than popularity",
            "worse": "WARNING: its ranking is worse than popularity",
            "same": "Its ranking is just as good as popularity",
            "unclear": "Its ranking is not clearly better than popularity",
        }[self.verdict]
        within = "" if math.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]"
        fix = ""
        if self.predicts and self.verdict != "better":
            ranker = first_that(predicts=False)
            fix = f" It was trained to predict the label; to rank, train with objective.name = '{ranker}'."
        return (
            f"{begins}: {title_of(metric)} {self.model[metric].value:.4f} against "
            f"{self.metrics[metric].value:.4f}, {found.value:+.4f}{within}.{fix}"
        )

    def __repr__(self) -> str:
        return self.says

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes, the verdict and the sentence for JSON."""
        return {
            "counted": self.counted,
            "metrics": metrics_dict(self.metrics),
            "difference": metrics_dict(self.difference),
            "verdict": self.verdict,
            "says": self.says,
        }
