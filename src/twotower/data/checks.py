"""The checks that make a `Dataset` valid by construction: whole tables in, tables of known dtypes out.

Every failure is one `DataError` with the rule, the table, the data row (counted from 1, the header not
counted), the column, the value, and the mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from twotower.data.parse import (
    Where,
    not_negative,
    parse_category,
    parse_count,
    parse_ids,
    parse_levels,
    parse_number,
    parse_text,
    parse_timestamp,
    required,
    shown,
)
from twotower.data.parse_lists import parse_categories, parse_vector
from twotower.errors import DataError, nearest
from twotower.schema import Kind, Schema

_PARSERS: Mapping[Kind, Callable[[pl.Series, Where], pl.Series]] = {
    Kind.NUMBER: parse_number,
    Kind.LOG_NUMBER: parse_count,
    Kind.CATEGORY: parse_category,
    Kind.CATEGORIES: parse_categories,
    Kind.VECTOR: parse_vector,
    Kind.TEXT: parse_text,
    Kind.TIMESTAMP: parse_timestamp,
}


def check_interactions(frame: pl.DataFrame, schema: Schema, source: str) -> pl.DataFrame:
    """Return the interactions with the role columns in their dtypes, other columns as they are.

    Ids keep their integer dtype or are String; label and weight are Float64 and finite; the timestamp is
    Float64 seconds since 1970-01-01 UTC or null; the duration, if it is a column here, Float64 or null.

    Args:
        frame: n rows, one an event.
        schema: the roles.
        source: the table's name in messages (a path, or "interactions").

    Raises:
        DataError: no rows, a missing column, or a value that breaks a rule above.
    """
    require_columns(frame.columns, schema.interaction_columns(), source)
    if not frame.height:
        raise DataError(
            f"interactions need at least one row: {source} has none. Check the file or the filter."
        )
    drop = "Drop the row, or correct the value"
    changed = [parse_ids(frame.get_column(role), Where(source, role)) for role in (schema.user, schema.item)]
    if schema.label is not None:
        where = Where(source, schema.label)
        given = frame.get_column(schema.label)
        labels = (
            parse_levels(given, schema.levels, where)
            if schema.levels
            else parse_number(given, where, what="a label")
        )
        changed.append(required(labels, where, "every interaction needs a label", drop))
    if schema.weight is not None:
        where = Where(source, schema.weight)
        weights = parse_number(frame.get_column(schema.weight), where, what="a weight")
        weights = required(weights, where, "every interaction needs a weight", drop)
        changed.append(not_negative(weights, where, "a weight is 0 or more"))
    if schema.timestamp is not None:
        changed.append(parse_timestamp(frame.get_column(schema.timestamp), Where(source, schema.timestamp)))
    if schema.duration in frame.columns and schema.duration not in schema.interaction_columns():
        assert schema.duration is not None
        where = Where(source, schema.duration)
        changed.append(parse_number(frame.get_column(schema.duration), where, what="a duration"))
    return frame.with_columns(changed)


def check_table(
    frame: pl.DataFrame,
    ids: str,
    features: Mapping[str, Kind],
    display: Sequence[str],
    source: str,
) -> pl.DataFrame:
    """Return the id, feature and display columns of a users or items table, each in the dtype of its kind.

    ========================== ==================================================
    kind                       dtype
    ========================== ==================================================
    number, log_number         Float64
    category                   Int64 or String
    categories                 List(Int64) or List(String)
    vector                     List(Float32), one length
    text                       String
    timestamp                  Float64, seconds since 1970-01-01 UTC
    ========================== ==================================================

    Null means missing in all of them. A display column that is no feature is kept as it is.

    Args:
        frame: one row a user (or item).
        ids: the id column.
        features: the kind of each feature column.
        display: columns to keep for showing.
        source: the table's name in messages.

    Raises:
        DataError: a missing column, a null id, an id in two rows, a value that is not of its kind.
    """
    require_columns(frame.columns, [ids, *features, *display], source)
    if features and not frame.height:
        raise DataError(f"a table with features needs at least one row: {source} has none. Check the file.")
    if not frame.height:
        known = pl.Series(ids, [], dtype=pl.Int64) if frame[ids].dtype == pl.Null else frame[ids]
        frame = frame.with_columns(known)
    columns = [_distinct(parse_ids(frame.get_column(ids), Where(source, ids)), Where(source, ids))]
    for name, kind in features.items():
        columns.append(parse_kind(frame.get_column(name), kind, Where(source, name)))
    columns += [
        frame.get_column(name) for name in dict.fromkeys(display) if name != ids and name not in features
    ]
    return pl.DataFrame(columns)


def parse_kind(values: pl.Series, kind: Kind, where: Where) -> pl.Series:
    """Return a feature column in the dtype of its kind (see `check_table`), or raise a `DataError`."""
    return _PARSERS[kind](values, where)


def common_id_type(
    events: pl.DataFrame, table: pl.DataFrame, column: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both tables with their id column in one dtype, so that they can be joined.

    Integers of different widths become Int64; where one table has integers and the other strings, both
    become strings.
    """
    left, right = events.get_column(column).dtype, table.get_column(column).dtype
    if left == right:
        return events, table
    to = pl.Int64 if left.is_integer() and right.is_integer() else pl.String
    return events.with_columns(pl.col(column).cast(to)), table.with_columns(pl.col(column).cast(to))


def require_columns(present: Sequence[str], wanted: Sequence[str], source: str) -> None:
    """Raise a `DataError` for the first wanted column that is not present; it names the nearest one."""
    for name in wanted:
        if name not in present:
            listed = ", ".join(present[:30]) + (", ..." if len(present) > 30 else "")
            headless = " Its first line looks like a row: put a header above it." if _numbers(present) else ""
            raise DataError(
                f"every column that the schema names must be in its table: {source} has no column '{name}'."
                f"{nearest(name, present)}{headless} Columns: {listed or 'none'}."
            )


def _numbers(names: Sequence[str]) -> bool:
    """Return whether the names of columns are numbers, most of them: no header, but a row."""
    return 2 * sum(re.fullmatch(r"[+-]?[\d.]+", name) is not None for name in names) > len(names)


def _distinct(ids: pl.Series, where: Where) -> pl.Series:
    first = ids.is_first_distinct()
    if first.all():
        return ids
    second_row = (~first).arg_max() or 0
    first_row = (ids == ids[second_row]).arg_max() or 0
    twice = ids[second_row]
    rule = f"an id has one row at most ({shown(twice)} is in data rows {first_row + 1} and {second_row + 1})"
    raise where.fault(rule, "Keep one of the rows", second_row + 1, twice)
