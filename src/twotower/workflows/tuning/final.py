"""The final step of tuning: train the original and the best config and compare them on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twotower.config import Config
from twotower.data.splitting import Parts
from twotower.evaluation import compare_on_task, compare_ratings
from twotower.evaluation.showing import metrics_dict
from twotower.evaluation.validator import NDCG
from twotower.metrics import Interval
from twotower.metrics.registry import main_metric
from twotower.training import Callback
from twotower.workflows import RunResult, train
from twotower.workflows.measuring import ranking_task
from twotower.workflows.run import Run
from twotower.workflows.stages import Log
from twotower.workflows.tracking import Tracking

GIVEN, BEST = "given", "best"
"""Keys of the two configs in ``tune.json``, and names of the folders of their runs."""

TITLES = {GIVEN: "original", BEST: "best"}
"""Their names in messages."""


def measure_both(
    given: Config,
    best: Config | None,
    parts: Parts,
    folder: Path,
    *,
    callbacks: Sequence[Callback],
    tracking: Tracking,
    log: Log,
) -> dict[str, Any]:
    """Train both into ``folder / "given"`` and ``folder / "best"``, and compare them on the test set.

    Args:
        given: the original config.
        best: the best config found; None if the original is kept, which is then evaluated alone.
        parts: training, validation and test set.
        folder: the tuning directory.
        callbacks: called after each epoch.
        tracking: where the two runs are tracked.
        log: called with progress messages.

    Returns:
        ``{"metric", "given", "best", "difference", "differences", "baseline"}``: the tuned metric of each
        model, their difference with a paired interval, and the differences of all metrics (these three are
        empty if the original config is kept); and the kept config's metrics with those of a baseline.
    """

    def trained(name: str, config: Config) -> RunResult:
        log(f"training the {TITLES[name]} config for the final test")
        begun = Run(folder / name).config_file.exists()
        return train(
            config, folder / name, parts=parts, resume=begun, callbacks=callbacks, tracking=tracking, log=log
        )

    runs = {GIVEN: trained(GIVEN, given)}
    if best is not None:
        runs[BEST] = trained(BEST, best)
    metric, metrics, differences = _compared(given, parts, runs)
    return {
        "metric": metric,
        GIVEN: metrics[GIVEN][metric].as_dict(),
        BEST: metrics[BEST][metric].as_dict() if BEST in metrics else {},
        "difference": differences[metric].as_dict() if differences else {},
        "differences": metrics_dict(differences),
        "baseline": _baseline(given, runs.get(BEST, runs[GIVEN])),
    }


def _baseline(config: Config, run: RunResult) -> dict[str, Any]:
    """Return the test metrics of a run, and of the baseline that training evaluates on the same test set."""
    model, baseline = ("ranking", "popularity") if config.objective.implicit else ("rating", "biases")
    return {key: run.metrics.get(key) or {} for key in (model, baseline)}


def _compared(
    config: Config, parts: Parts, runs: dict[str, RunResult]
) -> tuple[str, dict[str, dict[str, Interval]], dict[str, Interval]]:
    settings, first = config.evaluation, runs[GIVEN].recommender
    seen = first.train_view(parts.test)
    how = {"against": GIVEN, "resamples": settings.resamples, "seed": config.seed}
    if config.objective.implicit:
        metric = NDCG.name
        task = ranking_task(config, first, parts.test, sorted({*settings.ks, 100}))
        rankers = [(name, run.recommender) for name, run in runs.items()]
        ranked = compare_on_task(task, rankers, None, **how)  # type: ignore[arg-type]
        models = {name: dict(of.metrics) for name, of in ranked.models.items()}
        return metric, models, dict(ranked.differences.get(BEST, {}))
    cap = config.objective.label_cap
    predictions = {name: run.recommender.predict(parts.test) for name, run in runs.items()}
    rated = compare_ratings(predictions, parts.test, seen, cap=cap, **how)  # type: ignore[arg-type]
    models = {name: dict(of.metrics) for name, of in rated.models.items()}
    return main_metric(models[GIVEN]), models, dict(rated.differences.get(BEST, {}))
