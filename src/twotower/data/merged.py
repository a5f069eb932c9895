"""Users, items and interactions in one table, and id columns of other names: from the files' layout to ours.

Features that ride along with the interactions must be functions of the id: a feature that changes from row
to row is none of the user or item, and its last value would tell of the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from twotower.data.checks import require_columns
from twotower.data.parse import shown
from twotower.errors import DataError, nearest
from twotower.schema import Schema


def arranged(
    schema: Schema,
    events: pl.DataFrame,
    users: pl.DataFrame | None,
    items: pl.DataFrame | None,
    names: Mapping[str, str],
) -> tuple[Schema, pl.DataFrame, pl.DataFrame | None, pl.DataFrame | None]:
    """Return the three tables with one name for each id, features in tables of their own.

    Args:
        schema: with the names that the tables have.
        events: the interactions.
        users: the users; without them, the features that the schema names are looked for in the interactions.
        items: the same of items.
        names: of the tables, for messages.

    Returns:
        The schema without ``users_id`` and ``items_id``, as the ids are now called as in the interactions;
        the interactions without what has gone into the other tables; the users and the items, if there are
        any.

    Raises:
        DataError: a table lacks its id column, or an id has two values of a feature.
    """
    users = _renamed(users, schema.users_id, schema.user, schema.users, names["users"])
    shown_items = [*schema.items, *schema.display]
    items = _renamed(items, schema.items_id, schema.item, shown_items, names["items"])
    gone: set[str] = set()
    sides: list[pl.DataFrame | None] = []
    for table, ids, wanted in ((users, schema.user, schema.users), (items, schema.item, shown_items)):
        columns = [name for name in dict.fromkeys(wanted) if name != ids]
        if table is None and any(name in events.columns for name in columns):
            require_columns(events.columns, [ids, *columns], names["interactions"])
            sides.append(split_out(events, ids, columns, names["interactions"]))
            gone.update(columns)
        else:
            sides.append(table)
    table = events if sides[1] is None else sides[1]
    for name in schema.display:
        if name in table.columns and table.schema[name] in (pl.Binary, pl.Object):
            source = names["interactions" if sides[1] is None else "items"]
            raise DataError(
                f"a display column holds text, numbers, times or lists: {source}, column '{name}' holds "
                f"bytes or mixed "
                "objects. Cast it to strings, or leave it out."
            )
    gone -= {*schema.interaction_columns(), schema.duration or ""}
    kept = schema.model_copy(update={"users_id": None, "items_id": None})
    return kept, events.drop(gone), sides[0], sides[1]


def split_out(events: pl.DataFrame, ids: str, columns: Sequence[str], source: str) -> pl.DataFrame:
    """Return one row an id with its features, in the order of the ids; arguments and errors as
    `one_row_an_id`.

    Rows without an id are left out.
    """
    return one_row_an_id(events.filter(pl.col(ids).is_not_null()), ids, columns, source).sort(ids)


def one_row_an_id(frame: pl.DataFrame, ids: str, columns: Sequence[str], source: str) -> pl.DataFrame:
    """Return one row an id with its features, in the order of the first rows; a missing value yields to a
    known one.

    Args:
        frame: n rows with an id and its features.
        ids: the id column.
        columns: the features.
        source: what to call the table in messages.

    Raises:
        DataError: an id has two values of a feature; the message names them and their rows.
    """
    for column in columns:
        rows = _conflict(frame, ids, column)
        if rows is not None:
            one, two = (frame.get_column(column)[row] for row in rows)
            raise DataError(
                f"a feature has one value an id: {source}, column '{column}' of {ids} "
                f"{shown(frame.get_column(ids)[rows[0]])} is {shown(one)} in data row {rows[0] + 1:,} and "
                f"{shown(two)} in data row {rows[1] + 1:,}. Leave the column out of the schema, or give a "
                f"table "
                "with one row an id."
            )
    firsts = [pl.col(column).drop_nulls().first() for column in columns]
    return frame.group_by(ids, maintain_order=True).agg(firsts)


def is_function_of(frame: pl.DataFrame, ids: str, column: str) -> bool:
    """Say whether every id has one value of a column, missing ones aside."""
    return _conflict(frame, ids, column) is None


def features_within(frame: pl.DataFrame, ids: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that have one value an id, if ids come back often enough for that to mean something.

    A table of interactions that has such columns is one in which users or items are merged in.
    """
    rows = frame.get_column(ids)
    if not frame.height or rows.n_unique() > 0.8 * frame.height:
        return []
    # A column of one value is a function of anything.
    return [
        name
        for name in columns
        if name != ids
        and frame.get_column(name).drop_nulls().n_unique() > 1
        and is_function_of(frame, ids, name)
    ]


def _conflict(frame: pl.DataFrame, ids: str, column: str) -> tuple[int, int] | None:
    """Return two rows of one id with different values of a column, or none."""
    value = pl.col(column).hash() if frame.schema[column].is_nested() else pl.col(column)
    pairs = frame.select(pl.col(ids).alias("id"), value.alias("value")).with_row_index("row").drop_nulls()
    distinct = pairs.unique(["id", "value"], keep="first", maintain_order=True)
    twice = ~distinct.get_column("id").is_first_distinct()
    if not twice.any():
        return None
    place = twice.arg_max() or 0
    one = distinct.get_column("id")[place]
    first = distinct.filter(pl.col("id") == one).get_column("row")[0]
    return int(first), int(distinct.get_column("row")[place])


def _renamed(
    frame: pl.DataFrame | None,
    own: str | None,
    ids: str,
    wanted: Sequence[str] | Mapping[str, object],
    source: str,
) -> pl.DataFrame | None:
    """Return a table whose ids are called as in the interactions."""
    if frame is None or own is None or own == ids:
        return frame
    if own not in frame.columns:
        if ids in frame.columns:  # renamed already
            return frame
        raise DataError(
            f"every column that the schema names must be in its table: {source} has no column '{own}'."
            f"{nearest(own, frame.columns)} Columns: {', '.join(frame.columns[:30])}."
        )
    if ids in wanted:
        raise DataError(
            f"a feature can't have the name of the interactions' id: {source} has the ids in '{own}', and "
            f"its column "
            f"'{ids}' can't be read beside them. Rename one."
        )
    kept = frame.drop(ids, strict=False).with_columns(pl.col(own).alias(ids))
    return kept if own in wanted else kept.drop(own)
