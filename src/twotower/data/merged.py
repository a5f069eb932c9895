"""Convert other layouts to ours: users, items and interactions in one table, and differing names of id
columns.

Features stored in the interactions must be functions of the id: one that changes from row to row is not a
feature of the user or item, and its last value would leak the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from twotower.config.schema import Schema
from twotower.core.where import shown
from twotower.data.checks import require_columns
from twotower.errors import DataError, nearest


def arranged(
    schema: Schema,
    events: pl.DataFrame,
    users: pl.DataFrame | None,
    items: pl.DataFrame | None,
    names: Mapping[str, str],
) -> tuple[Schema, pl.DataFrame, pl.DataFrame | None, pl.DataFrame | None]:
    """Return the three tables with one name for each id, and features in separate tables.

    Args:
        schema: with the column names of the tables.
        events: the interactions.
        users: the users; if None, the features in the schema are looked for in the interactions.
        items: the same for items.
        names: names of the tables, for messages.

    Returns:
        The schema without ``users_id`` and ``items_id``, as the ids now have the names of the interactions;
        the interactions without the columns moved to other tables; the users and the items, if there are any.

    Raises:
        DataError: a table lacks its id column, or a feature has two values for one id.
    """
    users = _renamed(users, schema.users_id, schema.user, schema.users, names["users"])
    shown_items = [*schema.items, *schema.display]
    items = _renamed(items, schema.items_id, schema.item, shown_items, names["items"])
    gone: set[str] = set()
    sides: list[pl.DataFrame | None] = []
    for side, table, ids, wanted in (
        ("users", users, schema.user, schema.users),
        ("items", items, schema.item, shown_items),
    ):
        if table is not None:
            other = f" If its ids are in another column, name that as {side}_id in the schema."
            require_columns(table.columns, [ids], names[side], other)
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
                f"a display column must contain text, numbers, times or lists: {source}, column '{name}' "
                "contains bytes or mixed objects. Cast it to strings, or leave it out."
            )
    gone -= {*schema.interaction_columns(), schema.duration or ""}
    kept = schema.model_copy(update={"users_id": None, "items_id": None})
    return kept, events.drop(gone), sides[0], sides[1]


def split_out(events: pl.DataFrame, ids: str, columns: Sequence[str], source: str) -> pl.DataFrame:
    """Return one row per id with its features, ordered by id; arguments and errors as in `one_row_an_id`.

    Rows without an id are left out.
    """
    return one_row_an_id(events.filter(pl.col(ids).is_not_null()), ids, columns, source).sort(ids)


def one_row_an_id(frame: pl.DataFrame, ids: str, columns: Sequence[str], source: str) -> pl.DataFrame:
    """Return one row per id with its features, ordered by first row; known values replace missing ones.

    Args:
        frame: n rows with an id and features.
        ids: the id column.
        columns: the features.
        source: name of the table in messages.

    Raises:
        DataError: a feature has two values for one id; the message names them and their rows.
    """
    for column in columns:
        rows = _conflict(frame, ids, column)
        if rows is not None:
            one, two = (frame.get_column(column)[row] for row in rows)
            raise DataError(
                f"a feature must have one value per id: {source}, column '{column}' of {ids} "
                f"{shown(frame.get_column(ids)[rows[0]])} is {shown(one)} in data row {rows[0] + 1:,} and "
                f"{shown(two)} in data row {rows[1] + 1:,}. Remove the column from the schema, or pass a "
                "table with one row per id."
            )
    firsts = [pl.col(column).drop_nulls().first() for column in columns]
    return frame.group_by(ids, maintain_order=True).agg(firsts)


def is_function_of(frame: pl.DataFrame, ids: str, column: str) -> bool:
    """Return whether a column has one value per id, ignoring missing values."""
    return _conflict(frame, ids, column) is None


def features_within(frame: pl.DataFrame, ids: str, columns: Sequence[str]) -> list[str]:
    """Return the columns with one value per id, if ids repeat often enough for this to be evidence.

    A table of interactions with such columns has users or items merged into it.
    """
    rows = frame.get_column(ids)
    if not frame.height or rows.n_unique() > 0.8 * frame.height:
        return []
    # A constant column is a function of any id.
    return [
        name
        for name in columns
        if name != ids
        and frame.get_column(name).drop_nulls().n_unique() > 1
        and is_function_of(frame, ids, name)
    ]


def _conflict(frame: pl.DataFrame, ids: str, column: str) -> tuple[int, int] | None:
    """Return two rows of one id with different values of a column, or None."""
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


def refuse_long_form(frame: Any, wanted: Iterable[str], source: str) -> None:
    """Raise a `DataError` if a table of users or items has a row per feature instead of a column."""
    names = [str(name) for name in frame.columns]
    if not {"feature", "value"} <= set(names) or set(wanted) & set(names):
        return
    ids = next((name for name in names if name not in ("feature", "value")), "id")
    raise DataError(
        f"a table must have one row per id and one column per feature: {source} has the columns "
        f"{', '.join(names)}, one row per feature. With pandas, "
        f"frame.pivot_table(index='{ids}', columns='feature', values='value', aggfunc='first').reset_index() "
        "turns it, with aggfunc=list for features that have several values"
    )


def _renamed(
    frame: pl.DataFrame | None,
    own: str | None,
    ids: str,
    wanted: Sequence[str] | Mapping[str, object],
    source: str,
) -> pl.DataFrame | None:
    """Return a table whose id column has the name used in the interactions."""
    if frame is None or own is None or own == ids:
        return frame
    if own not in frame.columns:
        if ids in frame.columns:  # renamed already
            return frame
        raise DataError(
            f"every column named in the schema must be in its table: {source} has no column "
            f"'{own}'.{nearest(own, frame.columns)} Columns: {', '.join(frame.columns[:30])}."
        )
    if ids in wanted:
        raise DataError(
            f"a feature can't have the name of the id in the interactions: {source} has the ids in '{own}' "
            f"and another column '{ids}'. Rename one."
        )
    kept = frame.drop(ids, strict=False).with_columns(pl.col(own).alias(ids))
    return kept if own in wanted else kept.drop(own)
