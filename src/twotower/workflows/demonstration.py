"""The demonstration: train on the packaged sample, compare, and recommend."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from twotower.baselines.registry import RANKING_BASELINES
from twotower.config import Config, load_config
from twotower.core.atomic import disk_errors
from twotower.training import Callback
from twotower.workflows.baselines_file import TunedSettings
from twotower.workflows.comparing import Comparison, compare, compare_rankers
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run
from twotower.workflows.stages import Log, quiet
from twotower.workflows.training import breaks_say, train

RATING, RANKING = "kuairec-sample", "kuairec-sample-ranking"
"""The recipes: one model predicts the labels, another is trained to rank, and recommends."""


@dataclass(frozen=True)
class DemoResult:
    """The results of the demonstration.

    Attributes:
        run: the saved run of the model that ranks.
        metrics: of that model on the test set.
        rating: comparison of a model that predicts labels with its baselines.
        ranking: comparison of the model that ranks with some of its baselines.
        user: whom the items are recommended to.
        recommendations: ten items.
        configs: of the model that predicts, and of the model that ranks.
    """

    run: Run
    metrics: dict[str, Any]
    rating: Comparison
    ranking: Comparison
    user: Any
    recommendations: pl.DataFrame
    configs: tuple[Config, Config]


def demo(
    out: str | Path, *, overrides: tuple[str, ...] = (), callbacks: Sequence[Callback] = (), log: Log = quiet
) -> DemoResult:
    """Predict labels and rank on the packaged sample, compare with baselines, and recommend ten videos.

    The run of an earlier demonstration is replaced once the new one is complete; no other run is.

    Args:
        out: where the run is saved.
        overrides: settings other than the recipes'.
        callbacks: called during training.
        log: called with lines on the progress.

    Raises:
        ConfigError: the directory contains something else.
        BundleError: the run can't be written.
    """
    config = load_config(RANKING, overrides)
    run = Run(Path(out).expanduser())
    earlier = run.state() == "finished" and not run.foreign() and run.config().data.source == RATING
    if not earlier:
        run.check(config, resume=False)
    fresh = Run(run.path.with_name(f".{run.path.name}.new"))
    shutil.rmtree(fresh.path, ignore_errors=True)  # left over from an interrupted demo
    start, predicting = time.perf_counter(), load_config(RATING, overrides)
    with breaks_say("run it again; it starts from the beginning"):
        log("1 of 2: training a model that predicts watch ratios")
        rating = compare(predicting, callbacks=callbacks, log=log)
        log("2 of 2: training a model that ranks")
        result = train(config, fresh.path, callbacks=callbacks, log=log)
        parts = load_parts(config)
        tuned = TunedSettings.of(fresh.baselines_file, config, parts, log)
        featured = [name for name in RANKING_BASELINES if RANKING_BASELINES[name].featured]
        ranking = compare_rankers(config, result.recommender, parts, baselines=featured, tuned=tuned, log=log)
    ranking = replace(ranking, seconds=time.perf_counter() - start)
    with disk_errors(run.path):
        if run.path.exists():
            shutil.rmtree(run.path)
        os.replace(fresh.path, run.path)
    user = result.recommender.user_ids[0]
    recommendations = result.recommender.recommend([user], k=10)
    configs = (predicting, config)
    return DemoResult(run, result.metrics, rating, ranking, user, recommendations, configs)
