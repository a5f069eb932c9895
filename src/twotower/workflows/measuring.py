"""Measure a model on a test set, as its config says."""

from __future__ import annotations

from collections.abc import Sequence

from twotower.config import Config
from twotower.data.dataset import Dataset
from twotower.evaluation import Evaluation, RankingTask, held_out_task
from twotower.recommender import Recommender


def measured(config: Config, recommender: Recommender, test: Dataset) -> Evaluation:
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
    )


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
