"""Measure a model on a test set, as its config says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twotower.config import Config
from twotower.config.ranker import RankerConfig
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.evaluation import Evaluation, RankingTask, RankingValidator, RatingValidator, held_out_task
from twotower.evaluation.validator import are_cold
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.training.engine import Engine


def measured(
    config: Config, recommender: Recommender, test: Dataset, engine: Engine | None = None
) -> Evaluation:
    """Evaluate a model; see `Recommender.evaluate`."""
    settings = config.evaluation
    return recommender.evaluate(
        test,
        cap=settings.cap,
        ranking=settings.ranking,
        ks=settings.ks,
        candidates=settings.candidates,
        exclude_seen=settings.exclude_seen,
        resamples=settings.resamples,
        seed=config.seed,
        engine=engine,
    )


def ranker_of(config: Config) -> RankerConfig | None:
    """Return the settings of the second stage, with what it ranks as in the evaluation unless set."""
    settings = config.ranker
    if settings is None or settings.among != "auto":
        return settings
    observed = config.evaluation.candidates == "test_pairs"
    return settings.model_copy(update={"among": "observed" if observed else "all"})


def made_of(recommender: Recommender) -> dict[str, Any]:
    """Return the kind of towers (of several, each with the weight of its scores) and their length, and of a
    second stage how it was trained, and the share of each feature in what its splits gain."""
    found: dict[str, Any] = {"kind": recommender.kind_said, "dim": recommender.model.config.dim}
    stage = recommender.ranker
    if stage is None:
        return found
    learned, judged = stage.queries
    shares = {name: round(share, 4) for name, share in stage.importance().items()}
    trees = {"trees": stage.trees.n_trees, "queries": learned, "validation_queries": judged}
    return {**found, "ranker": {**trees, "importance": shares}}


def ranking_task(
    config: Config, recommender: Recommender, test: Dataset, ks: Sequence[int] | None = None
) -> RankingTask:
    """Return the task of ranking the catalogue for the users of a test set.

    Args:
        config: says how to measure.
        recommender: knows the training set and the rule for positives.
        test: the test set.
        ks: where lists are cut off; as the config says by default.

    Raises:
        DataError: there is no positive to rank.
    """
    settings = config.evaluation
    return held_out_task(
        test,
        recommender.train_view(test),
        recommender.positive,
        ks=settings.ks if ks is None else ks,
        candidates=settings.candidates,
        exclude_seen=settings.exclude_seen,
    )


def ranking_validator(config: Config, parts: Parts, rule: PositiveRule) -> RankingValidator:
    """Return what settings of models and baselines that rank are chosen by: NDCG@100 on the validation set.

    Items are ranked among the whole catalogue; or among those of the validation set, if the config says so
    or none of its positives is an item of the training set. The validation set is never fully observed, as a
    test set may be.
    """
    settings, validation = config.evaluation, parts.validation
    among = "all"
    if settings.candidates == "test_items" or are_cold(rule.select(validation), parts.train):
        among = "test_items"
    return RankingValidator.of(
        validation, parts.train, rule, candidates=among, exclude_seen=settings.exclude_seen
    )


def validator_of(config: Config, parts: Parts, rule: PositiveRule) -> RankingValidator | RatingValidator:
    """Return what the settings of a config's model are chosen by, on the validation set."""
    if config.objective.implicit:
        return ranking_validator(config, parts, rule)
    return RatingValidator(parts.validation, "learned")
