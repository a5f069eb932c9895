"""Our model and every baseline on the same split: of labels for one that predicts them, else of rankings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twotower.baselines import BASELINES, RANKING_BASELINES
from twotower.baselines.ranking import Setting
from twotower.config import Config, resolved
from twotower.data.ranker import Ranker
from twotower.data.splitting import Parts
from twotower.errors import DataError, MissingExtraError, TrainingError
from twotower.evaluation import (
    Comparison,
    RankingComparison,
    RankingTask,
    compare_on_task,
    compare_ratings,
    held_out_task,
)
from twotower.experiment.parts import check_positives, load_parts
from twotower.experiment.seeds import seed_configs, spread
from twotower.experiment.stages import Log, Stages, quiet
from twotower.experiment.training import breaks_say, fit
from twotower.features.positive import PositiveRule
from twotower.recommender import Recommender
from twotower.training.listener import Listener

OURS: Final = "two-tower"
"""What a comparison calls our model."""
CHOSEN_BY: Final = "ndcg@100"
"""What a ranking baseline's settings are chosen by on the validation part; our epochs are too."""


@dataclass(frozen=True)
class Compared:
    """Models beside each other, and how the baselines came about.

    Attributes:
        comparison: the measurements.
        settings: ranking baseline -> what it chose on the validation part.
        skipped: ranking baseline -> why it was left out.
        seeds: of our models.
    """

    comparison: Comparison | RankingComparison
    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON, with ``"settings"`` and ``"skipped"``.

        With several seeds also ``"seeds"``: which, and the spread of our metrics over them.
        """
        settings = {name: dict(of) for name, of in self.settings.items()}
        found = {**self.comparison.as_dict(), "settings": settings, "skipped": dict(self.skipped)}
        if OURS in self.comparison.by_seed:
            metrics = spread(self.comparison.by_seed[OURS])
            found["seeds"] = {"seeds": list(self.seeds), "metrics": metrics}
        return found


def compare(
    config: Config, *, seeds: int = 1, listener: Listener | None = None, log: Log = quiet
) -> Compared:
    """Train our model and every baseline on one split, and measure them on its test part.

    Args:
        config: the split, and our model. Its objective says what is compared: predicted labels or, if it is
            an implicit one, rankings.
        seeds: how many models of ours to train, as `train_seeds` does. With more than one, what is ours is
            the mean of theirs, user by user, and their spread is told.
        listener: told of the epochs of our model.
        log: told one line a model.

    Returns:
        Each model's metrics with intervals, and each baseline's differences from ours with paired intervals.

    Raises:
        ConfigError, DataError, TrainingError: as reading, splitting and training say.
        Interrupted: Ctrl-C.
    """
    config, stages = resolved(config), Stages()
    configs = seed_configs(config, seeds)
    parts = load_parts(config, stages=stages, log=log)
    check_positives(config, parts)
    with breaks_say("a comparison saves nothing, run it again"):
        listeners = [listener] if listener is not None else []
        recommenders = [fit(one, parts, stages=stages, listeners=listeners) for one in configs]
        log(f"{OURS}: {stages}")
        kind = compare_rankers if config.objective.implicit else compare_predictors
        compared = kind(config, recommenders[0], parts, others=recommenders[1:], log=log)
        return replace(compared, seeds=tuple(one.seed for one in configs))


def compare_predictors(
    config: Config,
    recommender: Recommender,
    parts: Parts,
    *,
    baselines: Iterable[str] | None = None,
    others: Sequence[Recommender] = (),
    log: Log = quiet,
) -> Compared:
    """Compare predicted labels with those of rating baselines, fitted here on the same parts.

    A baseline learns labels capped where ours are, and chooses its settings on the validation part. With
    ``training.refit`` it then learns from train and validation together, as ours does.

    Args:
        config: the split, and how to measure.
        recommender: ours, trained.
        parts: of the data.
        baselines: names in `BASELINES`; None for all.
        others: ours with other seeds.
        log: told one line a baseline.
    """
    ours = [one.predict(parts.test) for one in (recommender, *others)]
    predictions: dict[str, NDArray[np.float64]] = {OURS: np.stack(ours) if others else ours[0]}
    everything = parts.train.joined(parts.validation) if config.training.refit else None
    for name in BASELINES if baselines is None else baselines:
        start = time.perf_counter()
        baseline = BASELINES[name]()
        fitted = baseline.fit(parts.train, parts.validation, cap=config.objective.cap, seed=config.seed)
        if everything is not None:
            fitted.refit(everything)
        predictions[name] = fitted.predict(parts.test)
        log(f"{name}: {time.perf_counter() - start:.1f} s")
    comparison = compare_ratings(
        predictions,
        parts.test,
        recommender.train_view(parts.test),
        against=OURS,
        cap=config.evaluation.cap,
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    return Compared(comparison)


def compare_rankers(
    config: Config,
    recommender: Recommender,
    parts: Parts,
    *,
    others: Sequence[Recommender] = (),
    baselines: Iterable[str] | None = None,
    beside: Mapping[str, Ranker] | None = None,
    log: Log = quiet,
) -> Compared:
    """Compare rankings with those of ranking baselines, which learn from the positives alone.

    Each chooses its settings on the validation part and, with ``training.refit``, then learns from train and
    validation together, as ours does. Nobody is given what is with the user in those parts, positive or not.
    A baseline that can't be had here (too many items for it, a library that is not installed, no categories)
    is left out, and the reason is told.

    Args:
        config: the split, and how to measure.
        recommender: ours, trained.
        parts: of the data.
        others: ours with other seeds.
        baselines: names in `RANKING_BASELINES`; None for all.
        beside: further rankers, fitted, to be measured with them.
        log: told one line a baseline.
    """
    settings, rule = config.evaluation, recommender.positive
    seen = recommender.train_view(parts.test)
    task = held_out_task(parts.test, seen, rule, ks=settings.ks, candidates=settings.candidates)
    fitting = _Fitting(config, parts, rule, log)

    def rankers() -> Iterator[tuple[str, Ranker | Sequence[Ranker]]]:  # one at a time is in memory
        yield OURS, (recommender, *others) if others else recommender
        yield from (beside or {}).items()
        for name in RANKING_BASELINES if baselines is None else baselines:
            fitted = fitting.fitted(name)
            if fitted is not None:
                yield name, fitted

    comparison = compare_on_task(
        task, rankers(), seen, against=OURS, resamples=settings.resamples, seed=config.seed
    )
    return Compared(comparison, fitting.settings, fitting.skipped)


class _Fitting:
    """Fits one ranking baseline after the other; keeps what they chose, and why one was left out."""

    def __init__(self, config: Config, parts: Parts, rule: PositiveRule, log: Log) -> None:
        self.seed, self.log = config.seed, log
        self.train = rule.select(parts.train).as_train()
        self.everything = self.train
        if config.training.refit:
            self.everything = rule.select(parts.train.joined(parts.validation)).as_train()
        # The rows of a validation part are never all that is known, as a fully observed test part's may be.
        among = "test_items" if config.evaluation.candidates == "test_items" else "all"
        self.judge = _Judge(held_out_task(parts.validation, parts.train, rule, ks=(100,), candidates=among))
        self.settings: dict[str, dict[str, Setting]] = {}
        self.skipped: dict[str, str] = {}

    def fitted(self, name: str) -> Ranker | None:
        start, kind = time.perf_counter(), RANKING_BASELINES[name]
        try:
            if not kind.applies_to(self.train.schema):
                raise DataError("the schema has not the columns that it needs")
            chosen = kind.tune(self.train, self.judge, seed=self.seed)
            fitted = chosen.fit(self.everything, seed=self.seed)
        except (DataError, TrainingError, MissingExtraError) as error:
            self.skipped[name] = str(error)
            self.log(f"{name}: left out, {error}")
            return None
        self.settings[name] = chosen.settings()
        with_what = ", ".join(f"{key} {_short(value)}" for key, value in self.settings[name].items())
        took = f"{name}: {time.perf_counter() - start:.1f} s"
        self.log(took + (f", with {with_what}" if with_what else ""))
        return fitted


@dataclass(frozen=True)
class _Judge:
    """Worth of a ranker on the validation part."""

    task: RankingTask

    def __call__(self, ranker: Ranker) -> float:
        return self.task.measure(ranker)[CHOSEN_BY]


def _short(value: Setting) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
