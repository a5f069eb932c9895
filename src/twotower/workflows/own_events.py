"""`checked`, `typed`: a table of events that no store exported, read as interactions are."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.core.where import Found, Where
from twotower.data.checks import check_interactions
from twotower.data.dataset import TrainPart
from twotower.errors import DataError
from twotower.recommender.parts import Interactions
from twotower.workflows.event_table import EventTable

SOURCE: Final = "the table of events"


def checked(events: EventTable, train: TrainPart) -> EventTable:
    """Return events with the types of a training set, times in seconds, and labels on its scale.

    Args:
        events: the table.
        train: what it is to be added to.

    Raises:
        DataError: a value that can't be an interaction of this training set; the message has its row.
    """
    schema = train.schema
    found = typed(events, schema, train.ids("user").dtype, train.ids("item").dtype)
    if schema.label is not None and found is not events:
        known = Interactions(Lists.empty(0), train.labels().astype(np.float32))
        if fault := known.fault(found.interactions.get_column(schema.label).to_numpy()):
            raise DataError(f"{fault} in column '{schema.label}' of {SOURCE}; correct or drop these rows")
    return found


def typed(events: EventTable, schema: Schema, user: pl.DataType, item: pl.DataType) -> EventTable:
    """Return events with the types of a schema, times in seconds.

    What a store exported has them, and is returned as it is: it has a mark.

    Args:
        events: the table.
        schema: of the data that it belongs to.
        user, item: types of the ids there.

    Raises:
        DataError: a value that can't be that of an interaction; the message has its row.
    """
    if events.mark.stores or not events.interactions.height:
        return events
    frame, found, types = events.interactions, Found(), {schema.user: user, schema.item: item}
    for column, dtype in types.items():
        values, where = frame.get_column(column), Where(SOURCE, column)
        where.refuse(values.is_null(), values, "every row needs an id", "Drop the rows without one")
        ids = values.cast(dtype, strict=False)
        rule = f"ids must be of the type that they have in the data ({dtype})"
        where.refuse(ids.is_null(), values, rule, "Correct the id, or drop the row")
        frame = frame.with_columns(ids)
    texts = {name: how for name, how in schema.interactions.items() if frame.schema.get(name) == pl.String}
    bare = {"context": {}, "daily": {}, "missing_ids": "refuse", "interactions": texts}
    rows = check_interactions(frame, schema.model_copy(update=bare), SOURCE, found)
    rows = rows.with_columns(pl.col(column).cast(dtype) for column, dtype in types.items())
    return replace(events, interactions=rows, notes=(*events.notes, *found.notes))
