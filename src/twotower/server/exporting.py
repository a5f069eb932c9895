"""`exported`: the events of a store as a table of interactions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from twotower.core.vocabulary import Vocabulary
from twotower.core.wording import count_of
from twotower.recommender import Recommender
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.recommender.usual_label import usual_label
from twotower.server.offline_store import opened
from twotower.server.store import EventStore, Placed
from twotower.server.store.older_copy import go_on
from twotower.workflows.event_table import PLACE, EventTable


async def exported(
    store: EventStore, model: Recommender, *, after: TrainedUpTo | None = None, since: float = -math.inf
) -> EventTable:
    """Return the interactions of a store with the columns of a model, and the mark of what they are.

    Refused items (skips) are not interactions, and are left out. The store stays in use: what it gets
    meanwhile is above the mark.

    Args:
        store: opened here, and closed.
        model: whose columns and types of ids are used.
        after: only events that are not in what this marks.
        since: only events of this time, in seconds since 1970, or later. A table that lacks earlier ones has
            no mark.

    Raises:
        ConfigError: there is no store, or one of a newer version.
    """
    async with opened(store):
        if after is not None:
            await go_on(store, after)
        last = await store.last()
        known = 0 if after is None else after.stores.get(store.data, 0)
        placed = [one async for part in store.between(known, last) for one in part]
        items = await store.items_since(0)
        gone = await store.erased()
        mark = TrainedUpTo({store.data: last}, None, {store.data: gone.last})
    columns = [
        {"item": item.key, "columns": json.loads(item.columns)} for item in items if item.columns is not None
    ]
    found = _table(sorted(placed, key=lambda one: one.place), model, mark, since, columns)
    return replace(found, erasures=gone).without_erased(model.encoder.schema.user)  # deleted meanwhile


def _table(
    placed: Iterable[Placed], model: Recommender, mark: TrainedUpTo, since: float, items: list[dict[str, Any]]
) -> EventTable:
    schema, usual, notes = model.encoder.schema, usual_label(model), []
    placed = list(placed)
    events, place_of = [one.event for one in placed], {one.event.id: one.place for one in placed}
    kept = [event for event in events if event.kind == "interaction" and event.time >= since]
    if skips := sum(event.kind != "interaction" for event in events):
        notes.append(f"{count_of(skips, 'skip')} left out: a refused item is not an interaction")
    early = sum(event.kind == "interaction" and event.time < since for event in events)
    if early:
        mark = TrainedUpTo()
        notes.append(
            f"{count_of(early, 'earlier event')} left out, so the table has no mark: a model that is "
            "trained on it recognises these events by user, item and time"
        )
    for what, known, keys in (
        ("user", model.users, [event.user for event in kept]),
        ("item", model.items, [event.item for event in kept]),
    ):
        fits = [_fits(known, key) for key in keys]
        if wrong := [key for key, right in zip(keys, fits, strict=True) if not right]:
            notes.append(
                f"{count_of(len(wrong), 'event')} left out: the model's {what} ids are whole numbers, and "
                f"{wrong[0]!r} is not one"
            )
            kept = [event for event, right in zip(kept, fits, strict=True) if right]
    columns = {
        schema.user: _ids([event.user for event in kept], model.users),
        schema.item: _ids([event.item for event in kept], model.items),
    }
    if schema.label is not None:
        bare = sum(event.value is None for event in kept)
        if bare:
            notes.append(
                f"{count_of(bare, 'event')} without a value: {schema.label} = {usual:g}, the median of "
                "positives"
            )
        values = [usual if event.value is None else event.value for event in kept]
        columns[schema.label] = pl.Series(values, dtype=pl.Float64)
    if schema.timestamp is not None:
        columns[schema.timestamp] = pl.Series([event.time for event in kept], dtype=pl.Float64)
    if schema.weight is not None:
        columns[schema.weight] = pl.Series([1.0] * len(kept), dtype=pl.Float64)
        notes.append(f"events have no weight: {schema.weight} = 1")
    columns[PLACE] = pl.Series([place_of[event.id] for event in kept], dtype=pl.Int64)
    return EventTable(pl.DataFrame(columns), mark, tuple(items), tuple(notes))


def _fits(known: Vocabulary, key: str) -> bool:
    name = known.native(key)
    return not known.whole or (isinstance(name, int) and -(2**63) <= name < 2**63)


def _ids(keys: list[str], known: Vocabulary) -> pl.Series:
    """Return ids in the type of the model's; see `Vocabulary.native`."""
    return pl.Series([known.native(key) for key in keys], dtype=known.ids.dtype)
