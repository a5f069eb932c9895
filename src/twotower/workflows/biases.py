"""Compare a model that predicts labels with the simplest baseline: biases of users and items."""

from __future__ import annotations

from typing import Any

from twotower.baselines import Biases
from twotower.config import Config
from twotower.data.splitting import Parts
from twotower.evaluation import compare_ratings, metrics_dict
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
    found = compare_ratings(
        {"biases": biases.predict(test), "model": recommender.predict(test)},
        test,
        None,
        against="biases",
        cap=settings.cap,
        resamples=settings.resamples,
        seed=config.seed,
    )
    alone, difference = found.models["biases"].metrics, found.differences["model"]
    return {"metrics": metrics_dict(alone), "difference": metrics_dict(difference)}
