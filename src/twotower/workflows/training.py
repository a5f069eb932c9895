"""Train a config into a run directory, and evaluate a run again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twotower import __version__
from twotower.config import Config, resolved
from twotower.core.locking import alone_in
from twotower.data.fingerprint import fingerprint
from twotower.data.splitting import Parts
from twotower.errors import DataError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.estimator.fitting import check_place, place_of
from twotower.estimator.setup import check_context
from twotower.recommender import Recommender
from twotower.recommender.left_out import as_loaded, check_left_out
from twotower.recommender.list_stages import check_column
from twotower.recommender.trained_up_to import FACT
from twotower.targets.positive import PositiveRule
from twotower.towers.registry import TOWERS
from twotower.training import Callback, HistoryFile, Interrupted, write_history
from twotower.training.engine import Engine
from twotower.workflows.biases import beside_biases
from twotower.workflows.chosen import CHOSEN, chosen_of
from twotower.workflows.marking import mark_of
from twotower.workflows.measuring import made_of, measured, ranker_of
from twotower.workflows.reading import check_positives, facts_of, load_parts, sizes_of
from twotower.workflows.run import Run
from twotower.workflows.stages import FitClock, Log, Stages, quiet
from twotower.workflows.tracking import Tracking


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        run: its directory.
        metrics: the content of its ``metrics.json``.
        recommender: the trained model.
    """

    run: Run
    metrics: dict[str, Any]
    recommender: Recommender


def train(
    config: Config,
    out: str | Path,
    *,
    parts: Parts | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    tracking: Tracking | None = None,
    engine: Engine | None = None,
    log: Log = quiet,
) -> RunResult:
    """Train, evaluate on the test set, and save everything into a run directory.

    A run is finished once its ``metrics.json`` is there, which is written last. If it is stopped earlier (a
    crash, Ctrl-C, a full disk), it can be resumed; a finished run is never overwritten.

    Args:
        config: of the run.
        out: the run directory.
        parts: the config's training, validation and test set, if already read and split.
        resume: continue the unfinished run there; a finished one is returned unchanged.
        callbacks: called at every step and epoch.
        tracking: trackers that the run is logged to.
        engine: where it is trained; None for this process.
        log: called with one line for each stage.

    Raises:
        ConfigError: the directory contains another run, or there is none to resume; a tracker can't be
            reached.
        ConfigError, DataError, TrainingError: raised while reading, splitting or training.
        BundleError: something could not be written (a full disk).
        Interrupted: Ctrl-C.
    """
    run, config, stages = Run(Path(out).expanduser()), resolved(config), Stages()
    if run.check(config, resume=resume) == "finished":
        log(f"{run.path} is already finished")
        return RunResult(run, run.metrics(), run.recommender())
    check_place(engine, config)
    if parts is None:
        parts = load_parts(config, stages=stages, log=log)
    rule = check_positives(config, parts)
    check_context(config.model, config.objective, parts.train.schema)
    check_column(config.diversity, parts.train.schema.display)
    if not config.user_vectors:
        kind = TOWERS.get(config.model.kind)
        check_left_out(parts.train.schema, read=kind.reads_history and not kind.composed)
    with (
        place_of(engine, config),
        alone_in(run.path, "trains"),
        (tracking or Tracking()).run(run.path, config) as tracked,
        breaks_say("continue with --resume"),
    ):
        run.check(config, resume=resume)  # another process may have written to it meanwhile
        going_on = resume and run.has_checkpoint()
        run.begin(config)
        if resume and not going_on:
            log("no epoch was finished, so training starts from the beginning")
        recommender = fit(
            config,
            parts,
            rule,
            stages=stages,
            callbacks=[HistoryFile(run.history_file), tracked.epochs(), *callbacks],
            checkpoints=run.checkpoints,
            resume=going_on,
            engine=engine,
        )
        with stages("evaluate"):
            if not config.user_vectors:  # what is measured is what is saved
                recommender = as_loaded(recommender)
            measured = evaluated(config, recommender, parts, log, engine)
        metrics = {
            **measured,
            "model": made_of(recommender),
            "validation": _best(recommender),
            "data": {**facts_of(parts), "hash": fingerprint(parts)},
            "version": __version__,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with stages("save"):
            facts: dict[str, Any] = {"metrics": {name: metrics[name] for name in ("rating", "ranking")}}
            kept = config.user_vectors
            facts |= {"data": metrics["data"], "version": __version__, FACT: mark_of(config, parts).state}
            facts[CHOSEN] = chosen_of(run.checkpoints, recommender)
            recommender.save(run.bundle, user_vectors=kept, **facts)
            # Repair the end of the file, in case of a crash between an epoch and its checkpoint.
            write_history(run.history_file, recommender.history)
        seconds = {name: round(s, 3) for name, s in stages.seconds.items()}
        run.write_metrics({**metrics, "seconds": seconds})
        tracked.log(
            {f"test/{name}": of for kind in ("rating", "ranking") for name, of in metrics[kind].items()}
        )
        tracked.log({f"validation/{name}": value for name, value in metrics["validation"].items()})
        tracked.log({f"seconds/{name}": value for name, value in seconds.items()})
        tracked.keep(run.config_file, run.metrics_file, run.history_file)
    log(f"done in {stages}")
    return RunResult(run, run.metrics(), recommender)


def fit(
    config: Config,
    parts: Parts,
    rule: PositiveRule | None = None,
    *,
    stages: Stages,
    callbacks: Sequence[Callback] = (),
    checkpoints: Path | None = None,
    resume: bool = False,
    engine: Engine | None = None,
) -> Recommender:
    """Fit the two-tower model of a config, counting the seconds of "compile", "encode" and "train"."""
    with stages.compiling():
        clock = FitClock(stages)
        recommender = TwoTower.from_config(config).fit(
            parts.train,
            parts.validation,
            checkpoints=checkpoints,
            resume=resume,
            callbacks=[clock, *callbacks],
            progress=False,
            exclude_seen=config.evaluation.exclude_seen,
            rule=rule,
            ranker=ranker_of(config),
            engine=engine,
        )
        clock.lap("encode")
    return replace(recommender, diversity=config.diversity)


def evaluate(path: str | Path, *, engine: Engine | None = None, log: Log = quiet) -> dict[str, Any]:
    """Read a run's data again and evaluate its model on the test set.

    Returns:
        As `twotower.evaluation.Evaluation.as_dict`: ``{"rating": metrics, "ranking": metrics, ...}``, each
        metric ``{"value", "low", "high"}``; and ``"biases"``, as `beside_biases` has it (empty for a
        model that ranks).

    Raises:
        ConfigError: the directory contains no finished run.
        DataError: the data has changed since the run was trained.
    """
    run = Run.finished(path)
    config, recommender = run.config(), run.recommender()
    parts = load_parts(config, log=log)
    check_same_data(run, parts)
    return evaluated(config, recommender, parts, log, engine)


def check_same_data(run: Run, parts: Parts) -> None:
    """Check that the data has not changed since the run was trained.

    Raises:
        DataError: its rows or values have changed since.
    """
    data = run.metrics()["data"]
    if data.get("forgotten"):
        return  # its users were deleted on purpose, and with them rows
    then, now = data["rows"], sizes_of(parts)
    if then != now:
        raise DataError(
            f"a run is evaluated on the data it was made from: {run.path} had {_listed(then)} rows, now "
            f"there are {_listed(now)}; restore the files, or train again"
        )
    if data.get("hash", found := fingerprint(parts)) != found:
        raise DataError(
            f"a run is evaluated on the data it was made from: values in the tables of {run.path} have "
            "changed since its training, so the model may have been trained on some test rows; restore the "
            "files, or train again"
        )


def evaluated(
    config: Config, recommender: Recommender, parts: Parts, log: Log, engine: Engine | None
) -> dict[str, Any]:
    """Return the metrics of a model on the test set; see `evaluate`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TwoTowerWarning)  # their warnings are logged
        evaluation = measured(config, recommender, parts.test, engine)
    for note in evaluation.notes:
        log(f"note: {note}")
    biases = {} if evaluation.rating is None else beside_biases(config, recommender, parts)
    return {**evaluation.as_dict(), "biases": biases}


def _best(recommender: Recommender) -> dict[str, Any]:
    """Return the validation metrics and the number of the chosen epoch; of a sum of models, what it has."""
    kinds = recommender.kinds
    if kinds is not None and len(kinds.weights) > 1:
        return {kinds.metric: kinds.value}
    best = next((record for record in reversed(recommender.history) if record.get("best")), None)
    if best is None:
        return {}
    metrics = {
        key.removeprefix("validation_"): value for key, value in best.items() if key.startswith("validation_")
    }
    return {"epoch": best["epoch"], **metrics}


@contextmanager
def breaks_say(fix: str) -> Iterator[None]:
    """Turn Ctrl-C into an `Interrupted` whose message gives the next step."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(f"interrupted; {fix}") from None


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {rows:,}" for name, rows in sizes.items())
