"""The checks that make a `Dataset` valid by construction: raw tables in, tables of known dtypes out.

Every failure is one `DataError` with the rule, the table, the data row (counted from 1, the header not
counted), the column, the value, and the fix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from twotower.config.kinds import FeatureKind
from twotower.config.schema import IdType, Schema
from twotower.core.where import Found, Where, shown
from twotower.data.parse import (
    AS_FOUND,
    UNKNOWN,
    missing_ids,
    parse_ids,
    parse_levels,
    parse_number,
    parse_timestamp,
)
from twotower.errors import DataError, nearest


def check_interactions(
    frame: pl.DataFrame,
    schema: Schema,
    source: str,
    found: Found | None = None,
    first: int = 0,
    *,
    part: bool = False,
) -> pl.DataFrame:
    """Return the interactions with the role columns in their dtypes; other columns are unchanged.

    Ids keep their integer dtype or are String; label and weight are Float64 and finite; the timestamp is
    Float64 seconds since 1970-01-01 UTC or null; the duration, if it is one of these columns, is Float64 or
    null; columns of the context are as their kinds read them.

    Args:
        frame: n rows, one per event.
        schema: the roles.
        source: the table's name in messages (a path, or "interactions").
        found: collects how text was read, and how many rows without an id were dropped.
        first: the data row of the table (from 0) at which the frame begins, for messages.
        part: whether other rows of the table are checked apart from these; all of these may then be dropped.

    Raises:
        DataError: no rows, a missing column, or a value that violates a rule above.
    """
    require_columns(frame.columns, schema.interaction_columns(), source)
    if not frame.height:
        raise DataError(
            f"interactions need at least one row, and {source} has none. Check the file or the filter."
        )
    rows = None
    if schema.missing_ids == "drop":
        lost = {column: missing_ids(frame.get_column(column)) for column in (schema.user, schema.item)}
        keep = ~(lost[schema.user] | lost[schema.item])
        if part or keep.any():  # if all rows lack an id, the first one is refused
            for column, missing in lost.items():
                if found is not None:
                    said = "dropped {count} ({share}) without an id"
                    found.count(Where(source, column), said, "row", int(missing.sum()), len(missing))
        if (part or keep.any()) and not keep.all():
            frame, rows = frame.filter(keep), keep.arg_true()
    drop = "Drop the row, or correct the value"

    def read(column: str, what: str, fix: str = drop) -> tuple[pl.Series, Where]:
        where, reading = Where(source, column, rows, first), schema.interactions.get(column, AS_FOUND)
        values = frame.get_column(column)
        return parse_number(values, where, reading, found, what=what, fix=fix), where

    changed = [
        parse_ids(frame.get_column(schema.user), Where(source, schema.user, rows, first), schema.user_type),
        parse_ids(frame.get_column(schema.item), Where(source, schema.item, rows, first), schema.item_type),
    ]
    if schema.label is not None:
        if schema.levels:
            where = Where(source, schema.label, rows, first)
            labels = parse_levels(frame.get_column(schema.label), schema.levels, where)
        else:
            labels, where = read(schema.label, "a label")
        where.refuse(labels.is_null(), labels, "every interaction needs a label", drop)
        changed.append(labels)
    if schema.weight is not None:
        weights, where = read(schema.weight, "a weight")
        where.refuse(weights.is_null(), weights, "every interaction needs a weight", drop)
        where.refuse(weights < 0, weights, "a weight must be 0 or more", drop)
        changed.append(weights)
    if schema.timestamp is not None:
        where, reading = (
            Where(source, schema.timestamp, rows, first),
            schema.interactions.get(schema.timestamp),
        )
        times = frame.get_column(schema.timestamp)
        changed.append(parse_timestamp(times, where, reading or AS_FOUND, found, events=True))
    if schema.duration in frame.columns and schema.duration not in schema.interaction_columns():
        assert schema.duration is not None
        changed.append(read(schema.duration, "a duration", UNKNOWN)[0])
    context = {name: kind for name, kind in schema.context.items() if name != schema.timestamp}
    changed += [
        kind.read(frame.get_column(name), Where(source, name, rows, first), found or Found())
        for name, kind in context.items()
    ]
    return frame.with_columns(changed)


def check_table(
    frame: pl.DataFrame,
    ids: str,
    features: Mapping[str, FeatureKind],
    display: Sequence[str],
    source: str,
    found: Found | None = None,
    id_type: IdType = "auto",
) -> pl.DataFrame:
    """Return the id, feature and display columns of a users or items table, each as its kind reads it.

    Null means missing in all of them. A display column that is not a feature is unchanged.

    Args:
        frame: one row per user (or item).
        ids: the id column.
        features: the kind of each feature column.
        display: columns to keep for display.
        source: the table's name in messages.
        found: collects how text was read.
        id_type: the type of the ids.

    Raises:
        DataError: a missing column, a null id, an id in two rows, a value of the wrong kind.
    """
    require_columns(frame.columns, [ids, *features, *display], source)
    if features and not frame.height:
        raise DataError(
            f"a table with features needs at least one row, and {source} has none. Check the file."
        )
    if not frame.height:
        known = pl.Series(ids, [], dtype=pl.Int64) if frame[ids].dtype == pl.Null else frame[ids]
        frame = frame.with_columns(known)
    columns = [_distinct(parse_ids(frame.get_column(ids), Where(source, ids), id_type), Where(source, ids))]
    for name, kind in features.items():
        columns.append(kind.read(frame.get_column(name), Where(source, name), found or Found()))
    columns += [
        frame.get_column(name) for name in dict.fromkeys(display) if name != ids and name not in features
    ]
    return pl.DataFrame(columns)


def common_id_type(
    events: pl.DataFrame, table: pl.DataFrame, column: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both tables with their id column in one dtype, so that they can be joined.

    Integers of different widths become Int64; if one table has integers and the other strings, both become
    strings.
    """
    left, right = events.get_column(column).dtype, table.get_column(column).dtype
    if left == right:
        return events, table
    to = pl.Int64 if left.is_integer() and right.is_integer() else pl.String
    return events.with_columns(pl.col(column).cast(to)), table.with_columns(pl.col(column).cast(to))


def require_columns(present: Sequence[str], wanted: Sequence[str], source: str, advice: str = "") -> None:
    """Raise a `DataError` for the first missing column; it suggests the nearest name, and adds ``advice``."""
    for name in wanted:
        if name not in present:
            listed = ", ".join(present[:30]) + (", ..." if len(present) > 30 else "")
            headless = " Its first line looks like a row: add a header line." if _numbers(present) else ""
            raise DataError(
                f"every column named in the schema must be in its table: {source} has no column "
                f"'{name}'.{nearest(name, present)}{headless}{advice} Columns: {listed or 'none'}."
            )


def _numbers(names: Sequence[str]) -> bool:
    """Return whether most column names are numbers: not a header, but a row."""
    return 2 * sum(re.fullmatch(r"[+-]?[\d.]+", name) is not None for name in names) > len(names)


def _distinct(ids: pl.Series, where: Where) -> pl.Series:
    first = ids.is_first_distinct()
    if first.all():
        return ids
    second_row = (~first).arg_max() or 0
    first_row = (ids == ids[second_row]).arg_max() or 0
    twice = ids[second_row]
    rule = (
        f"an id must have at most one row ({shown(twice)} is in data rows {first_row + 1} and "
        f"{second_row + 1})"
    )
    raise where.fault(rule, "Keep one of the rows", second_row + 1, twice)
