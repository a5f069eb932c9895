"""Our model and every baseline on the same split."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twotower.baselines import BASELINES
from twotower.config import Config, resolved
from twotower.data.splitting import Parts
from twotower.evaluation import Comparison, compare_ratings
from twotower.experiment.parts import load_parts
from twotower.experiment.stages import Log, Stages, quiet
from twotower.experiment.training import breaks_say, fit
from twotower.recommender import Recommender
from twotower.training.listener import Listener

OURS: Final = "two-tower"
"""What a comparison calls our model."""


def compare(config: Config, *, listener: Listener | None = None, log: Log = quiet) -> Comparison:
    """Train our model and every baseline on one split, and measure them on its test part.

    Args:
        config: the split, and our model.
        listener: told of the epochs of our model.
        log: told one line a model.

    Returns:
        Each model's metrics with intervals, and each baseline's differences from ours with paired intervals.
    """
    config, stages = resolved(config), Stages()
    parts = load_parts(config, stages=stages, log=log)
    with breaks_say("a comparison saves nothing, run it again"):
        recommender = fit(config, parts, stages=stages, listeners=[listener] if listener is not None else [])
        log(f"{OURS}: {stages}")
        return compare_with_baselines(config, recommender, parts, log=log)


def compare_with_baselines(
    config: Config, recommender: Recommender, parts: Parts, *, log: Log = quiet
) -> Comparison:
    """Measure a trained model beside every baseline, fitted here on the same parts.

    A baseline chooses its settings on the validation part, and learns labels capped where ours are. With
    ``training.refit`` it then learns from train and validation together, as ours does.
    """
    predictions: dict[str, NDArray[np.float64]] = {OURS: recommender.predict(parts.test)}
    everything = parts.train.joined(parts.validation) if config.training.refit else None
    for name, baseline in BASELINES.items():
        start = time.perf_counter()
        fitted = baseline().fit(parts.train, parts.validation, cap=config.objective.cap, seed=config.seed)
        if everything is not None:
            fitted.refit(everything)
        predictions[name] = fitted.predict(parts.test)
        log(f"{name}: {time.perf_counter() - start:.1f} s")
    return compare_ratings(
        predictions,
        parts.test,
        recommender.train_view(parts.test),
        against=OURS,
        cap=config.evaluation.cap,
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
