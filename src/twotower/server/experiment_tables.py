"""`experiment_tables`: who was answered by what, and what happened since, from an event store."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import polars as pl

from twotower.core.wording import count_of
from twotower.errors import DataError
from twotower.server.exposures import EXPOSURES
from twotower.server.offline_store import opened
from twotower.server.store import EventStore

_EXPOSED = {
    "user": pl.String,
    "run": pl.String,
    "version": pl.String,
    "time": pl.Float64,
    "split": pl.String,
}
_EVENTS = {"user": pl.String, "kind": pl.String, "value": pl.Float64, "time": pl.Float64}


@dataclass(frozen=True, eq=False)
class ExperimentTables:
    """What an experiment is analysed from.

    Attributes:
        exposures: of the last split: ``user``, ``run``, ``version``, ``time`` of the first list.
        events: of these users: ``user``, ``kind``, ``value``, ``time``.
        shares: percent of the users by model.
        now: until when events are known.
        notes: what else the store has.
    """

    exposures: pl.DataFrame
    events: pl.DataFrame
    shares: dict[str, float]
    now: float
    notes: tuple[str, ...]


async def experiment_tables(store: EventStore) -> ExperimentTables:
    """Read the last experiment of a store: that of the split under which somebody was answered last.

    Args:
        store: opened here, and closed.

    Raises:
        ConfigError: there is no store, or one of a newer version.
        DataError: nobody was answered under a split.
    """
    async with opened(store):
        records = await store.records(EXPOSURES)
        users = {record.user for record in records}  # those whom a split has: often a part of all
        now, last = time.time(), await store.last()
        events = [
            (one.event.user, one.event.kind, one.event.value, one.event.time)
            async for part in store.between(0, last)
            for one in part
            if one.event.user in users
        ]
    values = [json.loads(record.value) for record in records]
    if not values:
        raise DataError(
            "the store has no exposures: nobody was answered while several models shared the users (twotower "
            "serve RUN_A RUN_B --split 50/50)"
        )
    rows = [
        {name: one[name] for name in ("user", "run", "version", "time")}
        | {"split": json.dumps([one["shares"], one["salt"]])}
        for one in values
    ]
    exposed = pl.DataFrame(rows, schema=_EXPOSED)
    split = exposed.sort("time").item(-1, "split")
    own, others = exposed.filter(pl.col("split") == split), exposed.filter(pl.col("split") != split)
    notes = []
    if n := others["split"].n_unique():
        moved = own.join(others, on="user", how="inner").filter(pl.col("run") != pl.col("run_right"))
        notes.append(
            f"the store has {count_of(n, 'earlier split')}; the last one is analysed. "
            f"{count_of(moved['user'].n_unique(), 'user')} of it had lists of another model before; with "
            "another --salt, these are spread evenly over all models"
        )
    happened = pl.DataFrame(events, schema=_EVENTS, orient="row")
    shares = {run: float(share) for run, share in json.loads(split)[0].items()}
    return ExperimentTables(
        own.drop("split"), happened.join(own, on="user", how="semi"), shares, now, tuple(notes)
    )
