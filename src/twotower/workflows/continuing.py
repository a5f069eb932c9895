"""`continue_run`: train a finished run further on the events since, in a fraction of a whole fit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from twotower import __version__
from twotower.config import Config
from twotower.core.locking import alone_in
from twotower.core.wording import count_of
from twotower.data.fingerprint import fingerprint
from twotower.data.later import with_later
from twotower.data.splitting import Parts
from twotower.estimator import TwoTower
from twotower.estimator.continuing import continued
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_facts
from twotower.recommender.drift import DriftReference
from twotower.recommender.left_out import as_loaded
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.training import Callback, write_history
from twotower.workflows.chosen import CHOSEN, chosen_in
from twotower.workflows.event_table import EventTable
from twotower.workflows.marking import mark_of
from twotower.workflows.measuring import made_of
from twotower.workflows.own_events import checked
from twotower.workflows.reading import facts_of, load_parts
from twotower.workflows.run import EVENTS, Run
from twotower.workflows.stages import Log, Stages, quiet
from twotower.workflows.training import breaks_say, check_same_data, evaluated, fit

CONTINUED: Final = "continued"
"""Key of the results that says what the run was continued from."""
TREES_KEPT: Final = (
    "the second stage keeps its trees; candidates and features are those of the continued model. Training "
    "from the beginning learns new trees"
)


@dataclass(frozen=True)
class Continued:
    """A run that was continued.

    Attributes:
        run: its directory.
        metrics: the content of its ``metrics.json``; ``continued`` has what was added and how it went.
        new: number of events that were added; with 0 nothing was trained.
    """

    run: Run
    metrics: dict[str, Any]
    new: int


def continue_run(
    path: str | Path,
    events: EventTable,
    out: str | Path | None = None,
    *,
    full_gap: bool = False,
    callbacks: Sequence[Callback] = (),
    log: Log = quiet,
) -> Continued:
    """Add events to the training set of a run, and train further from its model.

    The validation and test set stay as they are, so the metrics of both models are comparable. All events so
    far lie in the run, as ``events-N.parquet``. If it is stopped at any moment, the run is either as before
    or complete, and can be continued again.

    Args:
        path: of the finished run.
        events: what came since; those that the run has already are left out.
        out: the directory of the new run; None to update the run itself.
        full_gap: also train from the beginning on the same data, to measure what continuing loses.
        callbacks: called at every step and epoch.
        log: called with one line for each stage.

    Raises:
        ConfigError: there is no such run, or another one is in ``out``; the run can't be continued.
        DataError: the data has changed since the run was trained; an event can't be an interaction.
        BundleError: something could not be written (a full disk).
    """
    run = Run.finished(path)
    target = run if out is None else Run(Path(out).expanduser())
    if target.path.absolute() == run.path.absolute():
        target = run
    else:
        target.check(run.config(), resume=False)
    with alone_in(target.path, "trains"):  # nothing is read before: another process may change the run
        return _continued(run, target, events, callbacks, log, full_gap=full_gap)


def _continued(
    run: Run, target: Run, events: EventTable, callbacks: Sequence[Callback], log: Log, *, full_gap: bool
) -> Continued:
    config, model, stages = run.config(), run.recommender(index=False), Stages()
    chosen = chosen_in(run, model)
    base = load_parts(_without_events(config), stages=stages, log=log)
    schema = base.train.schema
    known = None
    if config.data.events is not None:
        known = checked(EventTable.read(Path(config.data.events), schema), base.train)
    before = base if known is None else _with(base, known)
    check_same_data(run, before)
    events = checked(events, base.train)
    new = events.after(mark_of(config, before))
    for note in events.notes:
        log(f"note: {note}")
    if not new.interactions.height:
        log("no new events, so nothing was trained")
        pending = TrainedUpTo.of(read_facts(run.bundle)).pending(events.erasures)
        if deleted := int((pending.places(model.user_ids) >= 0).sum()):
            log(
                f"note: the run still has {count_of(deleted, 'user')} deleted from the store since; "
                f"`twotower forget STORE {run.path} --user ID` of one of them deletes all"
            )
        return Continued(run, run.metrics(), 0)
    table = new if known is None else known.joined(new, schema.user)
    table = table.without_erased(schema.user)
    parts = _with(base, table)
    for note in parts.train.notes[len(base.train.notes) :]:
        log(f"note: {note}")
    if len(parts.train) == len(before.train) and fingerprint(parts) == fingerprint(before):
        log("the data has all of these events already, so nothing was trained")
        return Continued(run, run.metrics(), 0)
    with breaks_say("start it again"):
        everything = parts.train.joined(parts.validation) if config.training.refit else parts.train
        begun = time.process_time()
        with stages("train"):
            found = continued(
                TwoTower.from_config(config).settings,
                model,
                everything,
                chosen,
                callbacks=callbacks,
                exclude_seen=config.evaluation.exclude_seen,
            )
            found = replace(found, diversity=model.diversity)
            if not (model.training.user_vectors and config.user_vectors):  # measured as it is saved
                found = as_loaded(found)
        said: dict[str, Any] = {
            "from": str(run.path),
            "events": new.interactions.height,
            "new_users": len(found.user_ids) - len(model.user_ids),
            "new_items": len(found.item_ids) - len(model.item_ids),
            "drift": _drift(model, new, parts),
            **({} if found.ranker is None else {"ranker": TREES_KEPT}),
            "cpu_seconds": round(time.process_time() - begun, 2),
            "before": {name: run.metrics().get(name, {}) for name in ("rating", "ranking")},
        }
        with stages("evaluate"):
            measured = evaluated(config, found, parts, log, None)
        if full_gap:
            said["full"] = _full(config, parts, log)
        mark = mark_of(config, parts).joined(new.mark)
        facts = {CHOSEN: {kind: one.state for kind, one in chosen.items()}, FACT: mark.state}
        _save(run, target, found, table, {**measured, CONTINUED: said}, parts, facts, stages, config)
    log(f"done in {stages}")
    return Continued(target, target.metrics(), new.interactions.height)


def _save(
    run: Run,
    target: Run,
    model: Recommender,
    table: EventTable,
    measured: Mapping[str, Any],
    parts: Parts,
    facts: Mapping[str, Any],
    stages: Stages,
    config: Config,
) -> None:
    """Write the events, then the bundle, and last the results, which name the events."""
    earlier = run.metrics().get(EVENTS)
    number = 1 + int(str(earlier).removeprefix("events-").removesuffix(".parquet")) if earlier else 1
    name = f"events-{number}.parquet"
    metrics = {
        **measured,
        "model": made_of(model),
        "validation": {},
        "data": {**facts_of(parts), "hash": fingerprint(parts)},
        "version": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        EVENTS: name,
    }
    if target is not run:
        target.begin(config)
    table.write(target.path / name)
    with stages("save"):
        tested = {name: metrics[name] for name in ("rating", "ranking")}
        model.save(
            target.bundle,
            metrics=tested,
            data=metrics["data"],
            version=__version__,
            **facts,
        )
    write_history(target.history_file, model.history)
    target.write_metrics({**metrics, "seconds": {of: round(s, 3) for of, s in stages.seconds.items()}})
    for other in target.path.glob("events-*.parquet"):
        if other.name != name:
            other.unlink()


def _drift(model: Recommender, new: EventTable, parts: Parts) -> dict[str, Any]:
    """Return how far the new events are from what the earlier model was trained on."""
    schema, rows = parts.train.schema, new.interactions
    labels = None if schema.label is None else rows.get_column(schema.label).cast(pl.Float64).to_numpy()
    return DriftReference(model).of(rows.get_column(schema.user), rows.get_column(schema.item), labels)


def _full(config: Config, parts: Parts, log: Log) -> dict[str, Any]:
    """Train from the beginning on the same data, and return its metrics and CPU seconds."""
    begun = time.process_time()
    model = fit(config, parts, stages=Stages())
    seconds = time.process_time() - begun
    measured = evaluated(config, model, parts, log, None)
    tested = {name: measured[name] for name in ("rating", "ranking")}
    return {"cpu_seconds": round(seconds, 2), **tested}


def _with(base: Parts, table: EventTable) -> Parts:
    own = table.without_erased(base.train.schema.user)
    return with_later(base, own.interactions, own.items, own.erasures)


def _without_events(config: Config) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"events": None})})
