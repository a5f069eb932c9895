"""`forget_users`: delete users from a finished run: bundle, events, checkpoints and report."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from twotower.core.atomic import write_text
from twotower.core.erasure import Erasures
from twotower.core.locking import alone_in
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_facts, read_manifest
from twotower.recommender.forgetting import ITEMS_OF, versions_of, without_users
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.workflows.chosen import CHOSEN, chosen_of
from twotower.workflows.event_table import PLACE, EventTable, columns_of
from twotower.workflows.own_events import typed
from twotower.workflows.run import EVENTS, Run

RECORD: Final = "erased.jsonl"
FORGOTTEN: Final = "forgotten"
"""Key of the data's facts: how many users were deleted since."""


@dataclass(frozen=True)
class Forgotten:
    """What was deleted from a run.

    Attributes:
        users: number of users that the bundle had.
        events: number of their events among those that the run was continued on.
        files: names of what was rewritten or removed.
    """

    users: int
    events: int
    files: tuple[str, ...]


def forget_users(run: Run, erasures: Erasures) -> Forgotten:
    """Delete users from a run, all those of a store's records that it still has.

    The bundle is replaced at once, and last: until then it can be done again. Answers for others stay as they
    are. The checkpoints, which have vectors of all users, and a report, which may show lists of theirs, are
    removed. A line of ``erased.jsonl`` says when and how many, and the numbers of the store's records. The
    files that the run was trained from are not ours, and may still have the users: delete them there, or
    train with ``--from``, which leaves them out by the records beside the events of the run.

    Raises:
        ConfigError: another process trains in the run; nobody would be left.
        BundleError: the bundle can't be read or written.
    """
    if not _pending(run, erasures)[2].users:
        return Forgotten(0, 0, ())
    with alone_in(run.path, "trains"):
        facts, mark, pending = _pending(run, erasures)  # again: a training may have ended meanwhile
        model, files = run.recommender(), list[str]()
        rows = np.flatnonzero(pending.places(model.user_ids) >= 0)
        if CHOSEN not in facts:
            facts[CHOSEN] = chosen_of(run.checkpoints, model)
        facts |= {FACT: mark.without(pending).state, ITEMS_OF: versions_of(read_manifest(run.bundle))[-1]}
        left = without_users(model, rows)
        events = _forget_events(run, left, pending, files) if len(rows) or run.config().data.events else 0
        if run.checkpoints.is_dir():
            shutil.rmtree(run.checkpoints)
            files.append("checkpoints")
        if run.report_file.exists():
            run.report_file.unlink()
            files.append("report.html")
        left.save(run.bundle, **facts)
        files.append("bundle")
        said = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "store": erasures.store,
            "records": [one.number for one in pending.users],
            "users": len(rows),
            "events": events,
        }
        place = run.path / RECORD
        earlier = place.read_text(encoding="utf-8") if place.exists() else ""
        write_text(place, earlier + json.dumps(said) + "\n")
    return Forgotten(len(rows), events, tuple(files))


def _pending(run: Run, erasures: Erasures) -> tuple[dict[str, Any], TrainedUpTo, Erasures]:
    """Return the facts of the bundle, its mark, and the users whom it may still have."""
    facts = read_facts(run.bundle)
    mark = TrainedUpTo.of(facts)
    return facts, mark, mark.pending(erasures)


def _forget_events(run: Run, left: Recommender, pending: Erasures, files: list[str]) -> int:
    """Delete users from the events that a run has besides its tables, and return how many these were.

    They become events of the run, where they were a table that its config names; a run without any gets a
    table without rows. For whatever it is continued on later, the files that it was trained from may have the
    users.

    Args:
        run: the run.
        left: its model without the users.
        pending: the users.
        files: gets the names of what was written.
    """
    metrics, schema, given = run.metrics(), left.encoder.schema, run.config().data.events
    ids = {schema.user: left.users.ids.dtype, schema.item: left.items.ids.dtype}
    if given is None:
        types = {column: ids.get(column, pl.Float64()) for column in columns_of(schema)}
        table = EventTable(pl.DataFrame(schema={**types, PLACE: pl.Int64}), TrainedUpTo())
    else:
        table = typed(EventTable.read(Path(given), schema), schema, *ids.values())
    mark = TrainedUpTo(erased={pending.store: pending.last})
    kept = table.joined(EventTable(table.interactions.clear(), mark, erasures=pending), schema.user)
    name = metrics.setdefault(EVENTS, "events-1.parquet")
    data = metrics.setdefault("data", {})
    data[FORGOTTEN] = data.get(FORGOTTEN, 0) + len(pending.users)
    if not (run.path / name).exists():
        kept.write(run.path / name)  # before the results name it
    run.write_metrics(metrics)  # first: the data are others from here on
    kept.write(run.path / name)
    files += [name, "metrics.json"]
    return table.interactions.height - kept.interactions.height
