"""`SecondStageFit`: trains a ranker on what towers find that did not see the answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numba

from twotower.config.parts import first_that
from twotower.config.ranker import IN_MEMORY, RankerConfig
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.store import StoredTrain
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.estimator.auto import AutoFit
from twotower.estimator.fitting import Fit, Refit
from twotower.estimator.settings import Settings, validated
from twotower.evaluation import held_out_task
from twotower.evaluation.ranker import RankRequest
from twotower.ranking.examples import examples_of
from twotower.ranking.folds import check_folds, check_unseen, folds, order_of
from twotower.ranking.groups.registry import features_of
from twotower.ranking.joining import batch_of
from twotower.ranking.known import Batch, Queried
from twotower.ranking.second_stage import SecondStage
from twotower.ranking.sources.registry import SOURCES
from twotower.ranking.trees import Examples, Trees
from twotower.recommender import Recommender
from twotower.recommender.list_stages import candidates_of
from twotower.recommender.second_stage import asked_of, known_of
from twotower.retrieval import Candidates
from twotower.targets.positive import PositiveRule
from twotower.towers.registry import TOWERS


def trained(
    fit: Fit,
    ranker: RankerConfig | Mapping[str, Any] | None,
    train: TrainPart,
    validation: Dataset,
    rule: PositiveRule,
) -> Recommender:
    """Train towers, and a ranker if there are settings for one.

    Args:
        fit: of the towers.
        ranker: settings of the second stage, None for none.
        train, validation: the sets.
        rule: the rule for positives.

    Raises:
        ConfigError, DataError, MissingExtraError: as `SecondStageFit`.
    """
    composed = TOWERS.get(fit.settings.model.kind).composed
    if ranker is None:
        return (AutoFit(fit) if composed else fit).run(train, validation, rule)
    settings = _checked(ranker, fit.settings, train)
    told: list[Refit] = []
    fit = replace(fit, chosen=told.append)
    model = (AutoFit(fit) if composed else fit).run(train, validation, rule)
    return SecondStageFit(fit, settings, told[0]).run(model, train, validation, rule)


def _checked(given: RankerConfig | Mapping[str, Any], towers: Settings, train: TrainPart) -> RankerConfig:
    """Return the settings of a ranker, once it is clear that one can be trained.

    Raises:
        ConfigError: a setting is not valid; the towers don't rank; there are no times, or no labels; the
            training set is on disk.
        DataError: a fold would have no rows.
        MissingExtraError: LightGBM is not installed.
    """
    objective = towers.objective
    settings = given if isinstance(given, RankerConfig) else validated(RankerConfig, "ranker", given)
    if not objective.implicit:
        raise ConfigError(
            f"a ranker needs towers that were trained to rank, and objective {objective.name!r} predicts a "
            f"label; leave ranker out, or use objective={first_that(predicts=False)!r}"
        )
    if settings.grades == "labels" and train.schema.label is None:
        raise ConfigError(
            "ranker.grades 'labels' needs labels, and the schema has none; set schema.label, or use "
            "'positives'"
        )
    if train.schema.timestamp is None and (timed := [one for one in settings.sources if SOURCES[one].timed]):
        raise ConfigError(
            f"ranker.sources {', '.join(map(repr, timed))} need the time of each interaction; set "
            "schema.timestamp to its column, or leave them out"
        )
    check_in_memory(train)
    Trees.check_installed()
    check_folds(train, settings, towers.seed)
    return settings


def check_in_memory(train: TrainPart) -> None:
    """Make sure that a second stage can read a training set.

    Raises:
        ConfigError: it is on disk.
    """
    if isinstance(train, StoredTrain):
        raise ConfigError(IN_MEMORY)


def carried_over(stage: SecondStage, model: Recommender, train: TrainPart) -> SecondStage:
    """Return a second stage with its trees as they are, for a model that was trained further.

    Args:
        stage: of the earlier model.
        model: the continued one, whose candidates it is to rank.
        train: what that was trained on; features are made of it.

    Raises:
        ConfigError: the trees read other features than the model has.
    """
    known = known_of(model, train, stage.settings.sources)
    if features_of(known) != stage.features:
        raise ConfigError(
            "the second stage reads other features than the continued model has, so its trees can't be kept; "
            "train again on all events, without --from"
        )
    return replace(stage, known=known)


@dataclass(frozen=True)
class SecondStageFit:
    """One training of both stages.

    The settings of the towers are chosen on the validation set, as without a ranker. Towers with these
    settings are trained on the earlier part of each fold, and the ranker learns from their candidates for the
    queries of its later part. Those that choose the number of trees come from towers of the training set, for
    the queries of the validation set.

    Attributes:
        fit: of the towers.
        settings: of the ranker.
        chosen: settings of the towers, as they were chosen.
    """

    fit: Fit
    settings: RankerConfig
    chosen: Refit

    def run(
        self, model: Recommender, train: TrainPart, validation: Dataset, rule: PositiveRule
    ) -> Recommender:
        """Return the model with a ranker.

        Args:
            model: the trained towers.
            train, validation: the sets.
            rule: the rule for positives.

        Raises:
            ConfigError, DataError: the data can't be divided into folds; or no candidate of a query that is
                held out is relevant.
        """
        chosen = self.chosen
        seed, by_time = self.fit.settings.seed, order_of(self.settings, train) == "time"
        parts = []
        for fold in folds(train, self.settings, seed):
            check_unseen(fold.train, fold.held, by_time=by_time)
            parts.append(self._examples(chosen.train(fold.train, rule), fold.train, fold.held, rule))
        examples = Examples.joined(parts)
        check_unseen(train, validation, by_time=False)
        before = chosen.train(train, rule)
        judging = self._examples(before, train, validation, rule)
        for what, of in (("the folds of the training set", examples), ("the validation set", judging)):
            if not len(of.sizes):
                raise DataError(
                    f"[ranker] needs queries with a relevant item among the {self.settings.candidates} "
                    f"candidates; {what} have none. Use more candidates, a larger ranker.held_out, or leave "
                    "[ranker] out"
                )
        everything = (
            train.joined(validation) if self.fit.settings.training.refit or self.fit.carved else train
        )
        known = known_of(model, everything, self.settings.sources)
        trees = Trees.fit(examples, judging, features_of(known), self.settings, seed, numba.get_num_threads())
        sizes = len(examples.sizes), len(judging.sizes)
        self.fit.callbacks.on_choice(
            line=f"ranker: {count_of(trees.n_trees, 'tree')} by NDCG@10 of the validation set, learned from "
            f"{count_of(sizes[0], 'query', 'queries')} with {count_of(len(examples.grade), 'candidate')}"
        )
        if not trees.importance().any():
            warnings.warn(
                "no tree of the ranker has a split, so lists stay in the order of the towers; lower "
                f"ranker.min_rows ({self.settings.min_rows:,}), use more data, or leave [ranker] out",
                TwoTowerWarning,
                stacklevel=2,
            )
        return replace(model, ranker=SecondStage(self.settings, known, trees, sizes))

    def _examples(self, model: Recommender, known: Dataset, held: Dataset, rule: PositiveRule) -> Examples:
        """Return candidates that a model finds for the queries of rows that it has not seen."""
        among = "test_pairs" if self.settings.among == "observed" else "all"
        task = held_out_task(held, known, rule, candidates=among, exclude_seen=self.fit.exclude_seen)
        what = known_of(model, known, self.settings.sources)

        def found(request: RankRequest) -> tuple[Batch, Candidates]:
            asked, best, pool = candidates_of(model, request, self.settings.candidates)
            queries = Queried(what, asked_of(what, asked.asked, asked.vectors))
            best, batch = batch_of(self.settings, queries, best, pool)
            return batch, best

        return examples_of(task, held, rule, self.settings.grades, found)
