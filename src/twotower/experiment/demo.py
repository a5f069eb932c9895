"""The demonstration: the packaged sample from nothing to recommendations."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from twotower.atomic import disk_errors
from twotower.config import load_config
from twotower.evaluation import Comparison
from twotower.experiment.comparing import compare_with_baselines
from twotower.experiment.parts import load_parts
from twotower.experiment.run import Run
from twotower.experiment.stages import Log, quiet
from twotower.experiment.training import breaks_say, train
from twotower.training.listener import Listener

RECIPE = "kuairec-sample"


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration shows.

    Attributes:
        run: the saved run.
        metrics: of our model on the test part.
        comparison: beside the baselines.
        user: the user of the recommendations.
        recommendations: ten of them.
    """

    run: Run
    metrics: dict[str, Any]
    comparison: Comparison
    user: Any
    recommendations: pl.DataFrame


def demo(
    out: str | Path, *, overrides: tuple[str, ...] = (), listener: Listener | None = None, log: Log = quiet
) -> DemoResult:
    """Train the packaged sample's recipe, compare with the baselines, and recommend ten videos to a user.

    A run of an earlier demonstration is replaced, once the new one is whole; any other run is left alone.

    Args:
        out: where the run is saved.
        overrides: settings other than the recipe's.
        listener: told of the epochs.
        log: told what is going on.

    Raises:
        ConfigError: the directory holds something else.
        BundleError: the run can't be written.
    """
    config = load_config(RECIPE, overrides)
    run = Run(Path(out).expanduser())
    earlier = run.state() == "finished" and not run.foreign() and run.config().data.source == RECIPE
    if not earlier:
        run.check(config, resume=False)
    fresh = Run(run.path.with_name(f".{run.path.name}.new"))
    shutil.rmtree(fresh.path, ignore_errors=True)  # of a demonstration that was broken off
    with breaks_say("run it again, it begins anew"):
        result = train(config, fresh.path, listener=listener, log=log)
        comparison = compare_with_baselines(config, result.recommender, load_parts(config), log=log)
    with disk_errors(run.path):
        if run.path.exists():
            shutil.rmtree(run.path)
        os.replace(fresh.path, run.path)
    user = result.recommender.user_ids[0]
    return DemoResult(run, result.metrics, comparison, user, result.recommender.recommend([user], k=10))
