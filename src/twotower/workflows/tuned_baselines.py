"""`Fitting`: ranking baselines tuned on validation with and without grades, then fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines import RANKING_BASELINES, RankingBaseline
from twotower.baselines.search import Setting
from twotower.config import Config
from twotower.config.schema import Schema
from twotower.core.wording import count_of
from twotower.data.dataset import TrainPart
from twotower.data.durations import durations
from twotower.data.splitting import Parts
from twotower.errors import DataError, MissingExtraError, TrainingError
from twotower.evaluation import RankingValidator
from twotower.evaluation.ranker import Ranker
from twotower.targets.positive import PositiveRule
from twotower.towers.registry import TOWERS
from twotower.workflows.measuring import ranking_validator
from twotower.workflows.stages import Log

GRADES: Final = "grades"
"""Training data: all interactions, graded by the rank of the label."""
POSITIVES: Final = "positives alone"
"""Training data: only the positives, ungraded."""
_SAY_EVERY = 5.0
"""Seconds between two lines on one search."""
NO_GRADES: Final = "no grades"
"""Training data: all interactions, ungraded, since the data has no label."""


@dataclass(frozen=True)
class Choice:
    """The settings that a ranking baseline chose on the validation set.

    Attributes:
        baseline: unfitted, with its settings.
        given: its training data: `GRADES`, `POSITIVES` or `NO_GRADES`.
        worth: training data -> NDCG@100 of its best settings on the validation set.
        tried: number of settings that were tried.
        at_edge: settings whose best value is at the edge of the search.
    """

    baseline: RankingBaseline
    given: str
    worth: Mapping[str, float]
    tried: int
    at_edge: tuple[str, ...]


@dataclass(frozen=True)
class _Rows:
    """Rows to learn from."""

    train: TrainPart
    grades: NDArray[np.float64] | None


class Fitting:
    """Fits one ranking baseline after the other.

    Attributes:
        tuned: baseline -> its choice in an earlier tuning on the same data, which is used again.
        keep: called with the choice of each baseline tuned now.
        choices: baseline -> its choice.
        skipped: baseline -> why it was left out.
    """

    def __init__(
        self,
        config: Config,
        parts: Parts,
        rule: PositiveRule,
        log: Log,
        *,
        tuned: Mapping[str, Choice] | None = None,
        keep: Callable[[str, Choice], None] | None = None,
    ) -> None:
        self.config, self.rule, self.log = config, rule, log
        self.tuned, self.keep = tuned or {}, keep
        self.train = self._rows(parts.train)
        self.everything = self.train
        if config.training.refit:
            self.everything = self._rows(parts.train.joined(parts.validation))
        self.worth = _Told(ranking_validator(config, parts, rule), log)
        self.choices: dict[str, Choice] = {}
        self.skipped: dict[str, str] = {}

    def fitted(self, name: str, place: str = "") -> Ranker | None:
        """Tune a baseline on each kind of training data, and fit the better one; None if it can't run here.

        Args:
            name: of the baseline.
            place: such as ``"2 of 5"``, for the log.
        """
        start, named = time.perf_counter(), f"{name} ({place})" if place else name
        known = self.tuned.get(name)
        self.log(f"{named}: " + ("tuning" if known is None else "fitting with the settings tuned before"))
        self.worth.begin(named)
        try:
            choice = known or self._chosen(RANKING_BASELINES[name])
            rows = self.everything[choice.given]
            fitted = choice.baseline.fit(rows.train, grades=rows.grades, seed=self.config.seed)
        except (DataError, TrainingError, MissingExtraError) as error:
            self.skipped[name] = str(error)
            self.log(f"{named}: left out, {error}")
            return None
        self.choices[name] = choice
        self.log(f"{named}: {time.perf_counter() - start:.1f} s, {_said(choice)}")
        if known is None and self.keep is not None:
            self.keep(name, choice)
        return fitted

    def _chosen(self, kind: type[RankingBaseline]) -> Choice:
        found = {
            given: kind.tune(rows.train, self.worth, grades=rows.grades, seed=self.config.seed)
            for given, rows in self.train.items()
        }
        given = max(found, key=lambda one: found[one].worth)
        best = found[given]
        worth = {one: tuned.worth for one, tuned in found.items()}
        return Choice(best.baseline, given, worth, sum(one.tried for one in found.values()), best.at_edge)

    def _rows(self, part: TrainPart) -> dict[str, _Rows]:
        """Return the kinds of training data for a baseline; positives first, since they win a tie."""
        label = part.schema.label
        alone = _Rows(self.rule.select(part).as_train(), None)
        if label is None:
            return {NO_GRADES: alone}
        values = part.interactions.get_column(label).cast(pl.Float64).to_numpy()
        least = self.config.objective.least_grade
        return {POSITIVES: alone, GRADES: _Rows(part, self.rule.graded(values, durations(part), least))}


class _Told:
    """Measures a ranker on the validation set; logs the progress of a long search."""

    def __init__(self, validator: RankingValidator, log: Log) -> None:
        self.validator, self.log = validator, log
        self.begin("")

    def begin(self, name: str) -> None:
        """Begin the search of a baseline."""
        self.name, self.tried = name, 0
        self.start = self.said = time.perf_counter()

    def __call__(self, ranker: Ranker) -> float:
        worth = self.validator.worth(ranker)
        self.tried += 1
        now = time.perf_counter()
        if now - self.said >= _SAY_EVERY:
            self.said = now
            self.log(f"{self.name}: {count_of(self.tried, 'setting')} tried in {now - self.start:.0f} s")
        return worth


def given_to_ours(config: Config, schema: Schema) -> str:
    """Describe the training data of our model."""
    objective = config.objective
    if not objective.implicit:
        given = ["labels", "ids"]
    elif schema.label is None:
        given = [NO_GRADES]
    else:
        kind = TOWERS.get(config.model.kind)
        next_item = kind.reads_history and kind.ordered and objective.sampled_items is not None
        given = [GRADES if objective.graded and not next_item else POSITIVES]
    if schema.users or schema.items:
        given.append("features")
    if schema.weight is not None:
        given.append("weights")
    return ", ".join(given)


def settings_said(settings: Mapping[str, Setting]) -> str:
    """Return settings as text."""
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in settings.items()
    )


def _said(choice: Choice) -> str:
    settings = settings_said(choice.baseline.settings())
    by = ", ".join(f"{given} {worth:.4f}" for given, worth in choice.worth.items())
    said = f"given {choice.given}" + (f", with {settings}" if settings else "")
    said += f"; NDCG@100 on validation: {by}; {choice.tried} settings tried"
    if choice.at_edge:
        said += f"; best at the edge of the search: {', '.join(choice.at_edge)}"
    return said
