"""Two stages measured on one test set: what the towers find, how it is ranked again, and both together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.core.reprs import ShortRepr
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.ranker import Ranker
from twotower.evaluation.ranking_task import RankingTask, RankingValues
from twotower.evaluation.showing import metrics_dict
from twotower.metrics import Interval, mean_differences, mean_intervals
from twotower.metrics.registry import main_metric, title_of

_FOUND = ("candidates", "found")
TOWERS, BOTH = "towers", "both stages"


class FurtherSources(NamedTuple):
    """Where candidates come from besides the towers.

    Attributes:
        each: the candidates of each source by its name, as lists.
        k: how many each gives.
        together: all candidates, those of the towers among them, as lists.
    """

    each: Mapping[str, Ranker]
    k: int
    together: Ranker


class FirstStage(NamedTuple):
    """Where a second stage gets its candidates.

    Attributes:
        towers: alone.
        candidates: how many items the second stage ranks.
        sources: where they come from besides the towers; None for nowhere.
    """

    towers: Ranker
    candidates: int
    sources: FurtherSources | None = None


@dataclass(frozen=True, repr=False)
class StagesEvaluation(ShortRepr):
    """What each of two stages does for the same users. Made by `StagesEvaluation.measure`.

    Attributes:
        candidates: how many items the second stage ranks.
        found: recall of the candidates (``"recall@500"``): the share of a user's relevant items among them,
            which bounds what the second stage can reach.
        towers: metrics of the lists by the towers alone.
        ranker: NDCG and recall of the second stage among its candidates, with relevant items that were not
            found left out: what it loses itself. Users without a relevant candidate are not counted.
        difference: both stages minus the towers alone, with the interval of that difference.
        sources: with further sources of candidates: the recall of as many by the towers alone (``"towers"``),
            and of those of each source.
    """

    candidates: int
    found: Mapping[str, Interval]
    towers: Mapping[str, Interval]
    ranker: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    sources: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)

    @classmethod
    def measure(
        cls,
        task: RankingTask,
        both: RankingValues,
        model: Ranker,
        first: FirstStage,
        *,
        resamples: int,
        seed: int,
    ) -> StagesEvaluation:
        """Measure the towers alone and the second stage alone beside what both together reach.

        Args:
            task: the users and their relevant items.
            both: the values of both stages.
            model: both stages.
            first: where the second stage gets its candidates.
            resamples: bootstrap resamples of the users.
            seed: of the resampling.
        """
        head, (towers, candidates, sources) = MetricSet.headline(), first
        longer = replace(task, ks=tuple(sorted({*task.ks, candidates})))
        of_towers = longer.values(towers, metrics=head)
        recall = f"recall@{candidates}"
        alone = {name: of for name, of in of_towers.users.items() if int(name.rpartition("@")[2]) in task.ks}
        last = {name: of for name, of in of_towers.users.items() if name == recall}
        where = _found(task, towers if sources is None else sources.together, candidates)
        second = task.values(model, {_FOUND: where}, head).parts[_FOUND]
        users = {TOWERS: alone, BOTH: {name: both.users[name] for name in alone}}

        def intervals(values: Mapping[str, NDArray[np.float64]]) -> Mapping[str, Interval]:
            return mean_intervals(values, resamples=resamples, seed=seed)

        difference = mean_differences(users, TOWERS, resamples=resamples, seed=seed)[BOTH]
        each: dict[str, Mapping[str, Interval]] = {}
        if sources is not None:
            each[TOWERS] = intervals(last)
            for name, ranker in sources.each.items():
                each[name] = intervals(_recall(task, ranker, sources.k))
            last = _recall(task, sources.together, candidates)
        return cls(candidates, intervals(last), intervals(alone), intervals(second), difference, each)

    @property
    def says(self) -> str:
        """What the second stage changes, in a sentence."""
        metric = main_metric(self.difference)
        before, change = self.towers[metric], self.difference[metric]
        name, recall = next(iter(self.found.items()))
        within = f" [{change.low:+.4f}, {change.high:+.4f}]" if np.isfinite(change.low) else ""
        share = f" ({change.value / before.value:+.1%})" if before.value else ""
        return (
            f"The second stage changes {title_of(metric)} by {change.value:+.4f}{within}{share}, from "
            f"{before.value:.4f} by the towers alone; {title_of(name)} of its candidates is "
            f"{recall.value:.4f}{self._says_sources()}"
        )

    def _says_sources(self) -> str:
        each = [
            f"{title_of(name)} of {source if source == TOWERS else repr(source)} {of.value:.4f}"
            for source, recall in self.sources.items()
            for name, of in recall.items()
        ]
        return f" ({', '.join(each)})" if each else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes and the sentence for JSON."""
        parts: dict[str, Any] = {
            name: metrics_dict(getattr(self, name)) for name in ("found", "towers", "ranker", "difference")
        }
        if self.sources:
            parts["sources"] = {name: metrics_dict(of) for name, of in self.sources.items()}
        return {"candidates": self.candidates, **parts, "says": self.says}


def _recall(task: RankingTask, lists: Ranker, k: int) -> dict[str, NDArray[np.float64]]:
    """Return the recall of the first k by user."""
    name = f"recall@{k}"
    return {name: replace(task, ks=(k,)).values(lists, metrics=MetricSet.headline()).users[name]}


def _found(task: RankingTask, towers: Ranker, n: int) -> NDArray[np.bool_]:
    """Return which relevant items are among the first n of the towers, bool (n_relevant,)."""
    parts = []
    for start, request in task.requests():
        lists = np.asarray(towers.rank(request, n))
        relevant = task.relevant.between(start, start + len(lists))
        owner, size = np.nonzero(lists >= 0)[0], len(task.items)
        listed = owner * size + lists[lists >= 0]
        parts.append(np.isin(relevant.owners() * size + relevant.values, listed))
    return np.concatenate(parts)
