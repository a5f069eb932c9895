"""Compare our model with every baseline on the same split: by predicted labels, or else by rankings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines import BASELINES, RANKING_BASELINES
from twotower.baselines.search import Setting
from twotower.config import Config, resolved
from twotower.core.charts import Chart
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.estimator.fitting import check_place, place_of
from twotower.evaluation import (
    BesidePopularity,
    RankingComparison,
    RatingComparison,
    compare_on_task,
    compare_ratings,
    metrics_dict,
)
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.evaluation.ranker import Ranker
from twotower.recommender import Recommender
from twotower.recommender.candidate_lists import first_stage
from twotower.recommender.on_engine import placed
from twotower.training import Callback
from twotower.training.engine import Engine
from twotower.workflows.baselines_file import TunedSettings
from twotower.workflows.measuring import made_of, ranking_task
from twotower.workflows.reading import check_positives, facts_of, load_parts
from twotower.workflows.run import Run
from twotower.workflows.seeds import seed_configs, spread
from twotower.workflows.stages import Log, Stages, quiet
from twotower.workflows.training import breaks_say, check_same_data, fit
from twotower.workflows.tuned_baselines import Choice, Fitting, given_to_ours

OURS: Final = "two-tower"
"""Name of our model in a comparison."""
TOWERS_ALONE: Final = "towers alone"
"""Name of its first stage there, if it has two."""
_WARM = 0.99
"""A baseline for new items is left out if this share of the test positives is of training items."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Models compared on one test set, and how the baselines were tuned.

    Attributes:
        comparison: the metrics.
        given: model -> its training data, such as "grades" or "positives alone".
        choices: ranking baseline -> its settings chosen on the validation set, and their scores.
        skipped: ranking baseline -> why it was left out.
        seeds: of our models.
        popularity: for a model that predicts, its ranking compared with popularity:
            ``BesidePopularity.as_dict`` and ``"ours"``; empty for a model that ranks.
        data: rows of each set, users, items and notes; see `facts_of`.
        model: kind and length of our towers; see `made_of`.
        seconds: total time, including reading the data; 0 if not timed.
    """

    comparison: RatingComparison | RankingComparison
    given: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    popularity: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __repr__(self) -> str:
        return "\n".join([repr(self.comparison), *self._notes()])

    def _repr_html_(self) -> str:
        below = "".join(f"<div>{escape(note)}</div>" for note in self._notes())
        return self.comparison._repr_html_() + below

    def _notes(self) -> list[str]:
        return [f"{name} was left out: {reason}"[:150] for name, reason in self.skipped.items()]

    def to_frame(self) -> pl.DataFrame:
        """Return every metric of every model, and how ours differs; see `RankingComparison.to_frame`."""
        return self.comparison.to_frame()

    def plot(self, metric: str | None = None) -> Chart:
        """Return a chart of one metric of all models, best first; see `RankingComparison.plot`."""
        return self.comparison.plot(metric)

    @property
    def settings(self) -> dict[str, dict[str, Setting]]:
        """Return each ranking baseline's settings, as chosen on the validation set."""
        return {name: choice.baseline.settings() for name, choice in self.choices.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON.

        With ``"given"``, ``"settings"`` and ``"skipped"`` as above, and ``"validation"``: ranking baseline ->
        ``"grades"`` or ``"positives alone"`` -> NDCG@100 of its best settings on the validation set; and
        ``"at_edge"``: ranking baseline -> settings whose best value is at the edge of the search.

        With several seeds also ``"seeds"``: the seeds, and the spread of our metrics over them.
        """
        found = {
            **self.comparison.as_dict(),
            "given": dict(self.given),
            "settings": self.settings,
            "validation": {name: dict(choice.worth) for name, choice in self.choices.items()},
            "at_edge": {name: list(of.at_edge) for name, of in self.choices.items() if of.at_edge},
            "skipped": dict(self.skipped),
            "popularity": dict(self.popularity),
            "data": dict(self.data),
            "model": dict(self.model),
            "seconds": round(self.seconds, 3),
        }
        if OURS in self.comparison.by_seed:
            metrics = spread(self.comparison.by_seed[OURS])
            found["seeds"] = {"seeds": list(self.seeds), "metrics": metrics}
        return found


def compare(
    config: Config,
    *,
    seeds: int = 1,
    callbacks: Sequence[Callback] = (),
    engine: Engine | None = None,
    log: Log = quiet,
) -> Comparison:
    """Train our model and every baseline on one split, and measure them on its test set.

    Args:
        config: the split and our model. Its objective decides what is compared: rankings if it is implicit,
            else predicted labels.
        seeds: how many of our models to train, as `train_seeds` does. With more than one, our result is
            their mean, user by user, and their spread is reported.
        callbacks: called during the training of our model.
        engine: where our model is trained and all models rank; None for this process.
        log: called with one line for each model.

    Returns:
        Each model's metrics with intervals, and each baseline's differences from ours with paired intervals.

    Raises:
        ConfigError, DataError, TrainingError: raised while reading, splitting or training.
        Interrupted: Ctrl-C.
    """
    start = time.perf_counter()
    config, stages = resolved(config), Stages()
    configs = seed_configs(config, seeds)
    check_place(engine, config)
    parts = load_parts(config, stages=stages, log=log)
    rule = check_positives(config, parts)
    with breaks_say("a comparison saves nothing; run it again"), place_of(engine, config):
        recommenders = [
            fit(one, parts, rule, stages=stages, callbacks=callbacks, engine=engine) for one in configs
        ]
        log(f"{OURS}: {stages}")
        kind = compare_rankers if config.objective.implicit else compare_predictors
        compared = kind(config, recommenders[0], parts, others=recommenders[1:], engine=engine, log=log)
        seconds = time.perf_counter() - start
        return replace(compared, seeds=tuple(one.seed for one in configs), seconds=seconds)


def compare_run(
    path: str | Path, *, engine: Engine | None = None, log: Log = quiet
) -> tuple[Config, Comparison]:
    """Compare the model of a finished run with every baseline, without training it again.

    The tuned settings are kept in the run, so a second comparison or a report does not tune again.

    Returns:
        The config of the run, and the comparison.

    Raises:
        ConfigError: the directory contains no finished run.
        DataError: the data has changed since the run was trained.
        Interrupted: Ctrl-C; settings tuned so far are kept.
    """
    start, run = time.perf_counter(), Run.finished(path)
    config = run.config()
    parts = load_parts(config, log=log)
    check_same_data(run, parts)
    recommender = run.recommender(index=False)
    with breaks_say("run it again; the settings tuned so far are kept"), engine or nullcontext():
        if config.objective.implicit:
            tuned = TunedSettings.of(run.baselines_file, config, parts, log)
            compared = compare_rankers(config, recommender, parts, tuned=tuned, engine=engine, log=log)
        else:
            compared = compare_predictors(config, recommender, parts, engine=engine, log=log)
    return config, replace(compared, seeds=(config.seed,), seconds=time.perf_counter() - start)


def compare_predictors(
    config: Config,
    recommender: Recommender,
    parts: Parts,
    *,
    baselines: Iterable[str] | None = None,
    others: Sequence[Recommender] = (),
    beside: Mapping[str, Recommender] | None = None,
    metrics: OwnMetrics | None = None,
    engine: Engine | None = None,
    log: Log = quiet,
) -> Comparison:
    """Compare predicted labels with those of rating baselines, fitted here on the same sets.

    Baselines learn capped labels if our model does. Each chooses its settings on the validation set. With
    ``training.refit`` it is then fitted on the training and validation sets together, as our model is.

    Args:
        config: the split, and how to measure.
        recommender: our trained model.
        parts: training, validation and test set.
        baselines: names in `BASELINES`; None for all.
        others: our model with other seeds.
        beside: further trained models to compare, by name.
        metrics: your own metrics of predictions.
        engine: where our model ranks, within ``with engine``; None for this process.
        log: called with lines on the progress of each baseline.
    """
    ours = [one.predict(parts.test) for one in (recommender, *others)]
    predictions: dict[str, NDArray[np.float64]] = {OURS: np.stack(ours) if others else ours[0]}
    everything = parts.train.joined(parts.validation) if config.training.refit else None
    given = {OURS: given_to_ours(config, parts.train.schema)}
    for name, other in (beside or {}).items():
        predictions[name] = other.predict(parts.test)
        given[name] = given_to_ours(config, other.encoder.schema)
    names = list(BASELINES if baselines is None else baselines)
    for place, name in enumerate(names, 1):
        named, start = f"{name} ({place} of {len(names)})", time.perf_counter()
        log(f"{named}: fitting")
        baseline = BASELINES[name]()
        fitted = baseline.fit(parts.train, parts.validation, cap=config.objective.label_cap, seed=config.seed)
        if everything is not None:
            fitted.refit(everything)
        predictions[name] = fitted.predict(parts.test)
        given[name] = baseline.given
        log(f"{named}: {time.perf_counter() - start:.1f} s")
    comparison = compare_ratings(
        predictions,
        parts.test,
        recommender.train_view(parts.test),
        against=OURS,
        cap=config.evaluation.cap,
        metrics=metrics,
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    popularity = _ranked_beside(config, recommender, parts, engine, log)
    return Comparison(
        comparison, given, popularity=popularity, data=facts_of(parts), model=made_of(recommender)
    )


def _ranked_beside(
    config: Config, recommender: Recommender, parts: Parts, engine: Engine | None, log: Log
) -> dict[str, Any]:
    """Compare the ranking of a model that predicts with popularity; empty if that can't be measured."""
    settings = config.evaluation
    if not settings.ranking:
        return {}
    try:
        task = ranking_task(config, recommender, parts.test)
    except DataError as error:
        log(f"note: ranking was not measured: {error}")
        return {}
    found = BesidePopularity.measure(
        task,
        task.values(placed(recommender, engine), metrics=MetricSet.headline()),
        recommender.train_view(parts.test),
        recommender.positive,
        predicts=True,
        least_grade=config.objective.least_grade,
        resamples=settings.resamples,
        seed=config.seed,
    )
    return {**found.as_dict(), "ours": metrics_dict(found.model)}


def compare_rankers(
    config: Config,
    recommender: Recommender,
    parts: Parts,
    *,
    others: Sequence[Recommender] = (),
    baselines: Iterable[str] | None = None,
    beside: Mapping[str, Ranker] | None = None,
    metrics: OwnMetrics | None = None,
    tuned: TunedSettings | None = None,
    engine: Engine | None = None,
    log: Log = quiet,
) -> Comparison:
    """Compare rankings with those of ranking baselines.

    Where there are labels, each is tuned on the validation set twice: on the positives alone, and on all
    interactions by their grades, as ``all_pairs`` grades them. The better one is kept, and with
    ``training.refit`` it is then fitted on the training and validation sets together, as our model is.
    Users are not recommended items that they have in those sets, positive or not. A baseline that can't run
    here (too many items for it, a library that is not installed, no categories) is left out, with the reason.

    Args:
        config: the split, and how to measure.
        recommender: our trained model.
        parts: training, validation and test set.
        others: our model with other seeds.
        baselines: names in `RANKING_BASELINES`; None for all.
        beside: further fitted rankers to compare.
        metrics: your own metrics of lists.
        tuned: settings of baselines tuned earlier on this data; settings tuned now are added.
        engine: where all models rank the test set, within ``with engine``; None for this process.
        log: called with lines on the progress of each baseline.
    """
    settings, rule = config.evaluation, recommender.positive
    seen = recommender.train_view(parts.test)
    task = ranking_task(config, recommender, parts.test)
    fitting = Fitting(
        config,
        parts,
        rule,
        log,
        tuned=None if tuned is None else tuned.choices,
        keep=None if tuned is None else lambda name, choice: tuned.keep(name, choice, log),
    )
    names = list(RANKING_BASELINES if baselines is None else baselines)
    unsuited = {name: RANKING_BASELINES[name].unsuited(parts.train) for name in names}
    fitting.skipped |= {name: why for name, why in unsuited.items() if why}
    names = [name for name in names if not unsuited[name]]
    warm = float((task.train_rows[task.relevant.values] > 0).mean())
    for name in [one for one in names if RANKING_BASELINES[one].for_new_items]:
        if len(names) > 1 and warm >= _WARM:
            names.remove(name)
            fitting.skipped[name] = (
                f"it is for new items, and {warm:.1%} of the test positives are items of the training set"
            )
    given = {OURS: given_to_ours(config, parts.train.schema)}

    def rankers() -> Iterator[tuple[str, Ranker | Sequence[Ranker]]]:  # one at a time is in memory
        ours = [placed(one, engine) for one in (recommender, *others)]
        yield OURS, ours if others else ours[0]
        if (first := first_stage(recommender)) is not None:
            given[TOWERS_ALONE] = given[OURS]
            alone = [first_stage(one) or first for one in (recommender, *others)]
            towers = [placed(one.towers, engine) for one in alone]
            yield TOWERS_ALONE, towers if others else towers[0]
        for name, other in (beside or {}).items():
            if isinstance(other, Recommender):
                given[name] = given_to_ours(config, other.encoder.schema)
            yield name, placed(other, engine)
        for place, name in enumerate(names, 1):
            fitted = fitting.fitted(name, f"{place} of {len(names)}")
            if fitted is not None:
                given[name] = fitting.choices[name].given
                yield name, placed(fitted, engine)

    measured = MetricSet.of(metrics, parts.test, rating=False, ranking=True)
    comparison = compare_on_task(
        task, rankers(), seen, against=OURS, metrics=measured, resamples=settings.resamples, seed=config.seed
    )
    return Comparison(
        comparison,
        given,
        fitting.choices,
        fitting.skipped,
        data=facts_of(parts),
        model=made_of(recommender),
    )
