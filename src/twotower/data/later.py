"""`with_later`: interactions that came after the data of a config, added to its training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from twotower.core.erasure import Erasures
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.data.store import StoredTrain
from twotower.data.store.deriving import selected


def with_later(
    parts: Parts,
    events: pl.DataFrame,
    items: Sequence[Mapping[str, Any]] = (),
    erasures: Erasures | None = None,
) -> Parts:
    """Add interactions to the training set; the validation set and the test set stay as they are.

    A row that one of the sets has already (the same user, item and time; without times the same user and
    item) is left out, so that none counts twice and none of the test set is trained on. A note says how many.
    Of a training set on disk only the validation and test set are compared.

    Args:
        parts: the sets.
        events: with the columns of the schema.
        items: items that were added since, each ``{"item": id, "columns": {...}}``: new rows of the items
            table.
        erasures: users whom none of the sets is to have, except by these interactions.
    """
    if erasures:
        parts = _without(parts, erasures)
    train, schema = parts.train, parts.train.schema
    ids = {name: _type(train, name) for name in (schema.user, schema.item)}
    keys = [*ids, *([] if schema.timestamp is None else [schema.timestamp])]
    rows = events.cast(ids).unique(keys, keep="first", maintain_order=True)  # type: ignore[arg-type]
    for part in (parts.test, parts.validation, *([] if isinstance(train, StoredTrain) else [train])):
        known = part.interactions.select(keys).cast({name: rows.schema[name] for name in keys})
        rows = rows.join(known, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    notes = [f"{count_of(rows.height, 'later interaction')} added to the training set"] if len(events) else []
    if left := events.height - rows.height:
        notes.append(f"{count_of(left, 'later interaction')} left out, which the data has already")
    table = _with_items(train.items, schema.item, items)
    notes += [f"{count_of(more, 'new item')} added"] if (more := table.height - train.items.height) else []
    added = Dataset(rows, train.users, table, schema)
    whole = _on(train, table).joined(added).with_notes(*notes)
    validation, test = (replace(part, items=table) for part in (parts.validation, parts.test))
    return Parts(whole.as_train(), validation, test)


def _without(parts: Parts, erasures: Erasures) -> Parts:
    """Return the sets without rows of deleted users, in the interactions and in the table of users."""
    schema = parts.train.schema
    users = parts.train.users.filter(pl.Series(erasures.places(parts.train.users[schema.user]) < 0))

    def kept(part: Dataset) -> Any:
        return erasures.places(part.interactions.get_column(schema.user)) < 0

    found: list[Any] = []
    for part in (parts.train, parts.validation, parts.test):
        if isinstance(part, StoredTrain):
            found.append(_stored_without(part, users, kept))
        else:
            rows = part.interactions.filter(pl.Series(kept(part)))
            found.append(replace(part, interactions=rows, users=users))
    return Parts(*found)


def _stored_without(train: StoredTrain, users: pl.DataFrame, kept: Callable[[Dataset], Any]) -> StoredTrain:
    events = selected(train.events, train.events.space, lambda block: kept(train.part(block)))
    return StoredTrain(events, users, train.items, train.schema, train.notes)


def _on(train: Any, items: pl.DataFrame) -> Any:
    if isinstance(train, StoredTrain):
        return StoredTrain(train.events, train.users, items, train.schema, train.notes)
    return replace(train, items=items)


def _type(train: Dataset, column: str) -> pl.DataType:
    if isinstance(train, StoredTrain):
        return (train.events.users if column == train.schema.user else train.events.items).dtype
    return train.interactions.schema[column]


def _with_items(table: pl.DataFrame, column: str, items: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the items table with new rows for items that it lacks."""
    known = set(table.get_column(column).cast(pl.String).to_list())
    new = [item for item in items if str(item["item"]) not in known]
    if not new:
        return table
    columns = {
        name: pl.Series([item["columns"].get(name) for item in new], dtype=of, strict=False)
        for name, of in table.schema.items()
        if name != column
    }
    ids = pl.Series([str(item["item"]) for item in new]).cast(table.schema[column])
    return pl.concat([table, pl.DataFrame({column: ids, **columns}).select(table.columns)])
