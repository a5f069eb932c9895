"""Compare a model that predicts labels with the simplest baseline: biases of users and items."""

from __future__ import annotations

from typing import Any

import polars as pl

from twotower.baselines import Biases
from twotower.config import Config
from twotower.data.splitting import Parts
from twotower.evaluation import metrics_dict
from twotower.metrics import group_users, intervals, paired_differences, user_statistics
from twotower.recommender import Recommender


def beside_biases(config: Config, recommender: Recommender, parts: Parts) -> dict[str, Any]:
    """Measure biases on the test set, and their difference from the model on the same resampled users.

    The biases are fitted on the same rows as the model: the training set and, with ``training.refit``, the
    validation set.

    Returns:
        ``{"metrics", "difference"}`` for JSON: of biases, and the model minus biases.
    """
    test, settings = parts.test, config.evaluation
    biases = Biases().fit(parts.train, parts.validation, cap=config.objective.label_cap, seed=config.seed)
    if config.training.refit:
        biases.refit(parts.train.joined(parts.validation))
    assert test.schema.label is not None  # a model that predicts has labels to predict
    label = test.interactions.get_column(test.schema.label).cast(pl.Float64).to_numpy()
    users = test.interactions.get_column(test.schema.user)
    groups = group_users(
        (users if users.dtype.is_integer() else users.rank("dense").cast(pl.Int64)).to_numpy()
    )
    measured = {
        name: user_statistics(groups, label, predictions, cap=settings.cap)
        for name, predictions in (
            ("biases", biases.predict(test)),
            ("model", recommender.predict(test)),
        )
    }
    difference = paired_differences(measured, "biases", resamples=settings.resamples, seed=config.seed)
    alone = intervals(measured["biases"], resamples=settings.resamples, seed=config.seed)
    return {"metrics": metrics_dict(alone), "difference": metrics_dict(difference["model"])}
