"""The tables of users and items of a `Dataset`, checked against its interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import FeatureKind, kind_of
from twotower.config.schema import Schema
from twotower.core.id_text import canonical
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.checks import check_table, common_id_type, require_columns
from twotower.data.daily import parse_daily
from twotower.errors import DataError, nearest


@dataclass(frozen=True)
class CheckedSide:
    """The users, or the items.

    Attributes:
        events: the interactions, with ids of the type of the table.
        table: one row per id.
        schema: with what was detected in the text of the features.
        notes: what was detected or is missing.
    """

    events: pl.DataFrame
    table: pl.DataFrame
    schema: Schema
    notes: list[str]


def side_of(
    role: str,
    given: pl.DataFrame | None,
    events: pl.DataFrame,
    schema: Schema,
    features: Mapping[str, FeatureKind],
    names: Mapping[str, str],
    counts: NDArray[np.integer[Any]] | None = None,
) -> CheckedSide:
    """Check the table of users or items; without one, make it of the ids of the interactions.

    Args:
        role: ``user`` or ``item``.
        given: the table, with the id column of the interactions.
        events: the interactions; or their distinct ids, with ``counts``.
        schema: of the dataset.
        features: the columns of items to check and keep; see `with_duration`.
        names: names of the tables, for messages.
        counts: (rows of ``events``,) the number of interactions of each.

    Raises:
        DataError: as `Dataset.of`.
    """
    name, ids = names[f"{role}s"], schema.user if role == "user" else schema.item
    kinds = schema.users if role == "user" else features
    display, daily = ((), {}) if role == "user" else (schema.display, schema.daily)
    if given is None:
        if kinds or display or daily:
            lacking = ", ".join([*kinds, *display, *daily])
            raise DataError(f"the schema names columns of {name} ({lacking}), but that table was not passed")
        return CheckedSide(events, events.select(pl.col(ids).unique().sort()), schema, [])
    found = Found()
    id_type = schema.user_type if role == "user" else schema.item_type
    table = check_table(given, ids, kinds, display, name, found, id_type)
    require_columns(given.columns, list(daily), name)
    table = table.with_columns(
        parse_daily(given.get_column(column), kind, Where(name, column), found).alias(column)
        for column, kind in daily.items()
    )
    notes = [*found.notes, *_text_in_one({names["interactions"]: events, name: table}, ids)]
    schema = schema.with_settings("users" if role == "user" else "items", found.settings)
    events, table = common_id_type(events, table, ids)
    known = events.get_column(ids)
    unknown = ~known.is_in(table.get_column(ids).implode())
    if unknown.any():
        distinct = known.filter(unknown).n_unique()
        weight = np.ones(len(known), dtype=np.int64) if counts is None else counts
        lost, rows = int(weight[unknown.to_numpy()].sum()), int(weight.sum())
        notes.append(
            f"{name} has no row for {count_of(distinct, role)} "
            f"({count_of(lost, 'interaction')}, {lost / rows:.1%}); these are kept, with all features missing"
        )
    return CheckedSide(events, table, schema, notes)


def with_duration(
    schema: Schema, events: Sequence[str], items: pl.DataFrame | None, names: Mapping[str, str]
) -> dict[str, FeatureKind]:
    """Return the item columns to check and keep: the features, and the duration if it is in this table.

    Args:
        schema: with the features.
        events: the columns of the interactions.
        items: the items, if they have a table.
        names: names of the tables, for messages.
    """
    features = {
        name: kind.filled(schema.interactions[name].given) if name in schema.interactions else kind
        for name, kind in schema.items.items()
    }
    if schema.duration is None:
        return features
    in_items = items is not None and schema.duration in items.columns
    if in_items:
        reading = schema.interactions.get(schema.duration)
        number = {"kind": "number", **(reading.given if reading else {})}
        features.setdefault(schema.duration, kind_of(number, "schema.duration"))
    elif schema.duration not in events:
        present = [*events, *(items.columns if items is not None else [])]
        raise DataError(
            "the duration must be a column of the interactions or the items: neither "
            f"{names['interactions']} nor {names['items']} has a column "
            f"'{schema.duration}'.{nearest(schema.duration, present)}"
        )
    return features


def _text_in_one(tables: Mapping[str, pl.DataFrame], column: str) -> list[str]:
    """Note that the ids of both tables become text because those of one are not all integers."""
    text = [name for name, table in tables.items() if table.schema[column] == pl.String]
    if len(text) != 1:
        return []
    ids = tables[text[0]].get_column(column)
    other = ids.filter(~canonical(ids))
    if not len(other):
        return []
    return [
        f"column '{column}' is read as text in every table: {text[0]} has ids such as {other[0]!r}, the "
        "other table only whole numbers"
    ]
