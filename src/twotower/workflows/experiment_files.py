"""Exposures and events of an experiment from tables of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from twotower.core.where import Where
from twotower.data.parse import parse_ids, parse_number, parse_timestamp
from twotower.data.tables import read_table
from twotower.errors import ConfigError, DataError, nearest

EXPOSURES = ("user", "run", "time")
EVENTS = ("user", "time")
KINDS = ("interaction", "skip")
_OPTIONAL = {"version": "", "kind": KINDS[0], "value": None}


def read_exposures(path: str | Path, names: Mapping[str, str]) -> pl.DataFrame:
    """Read ``user``, ``run``, ``time`` and, if it is there, ``version``.

    Args:
        path: a CSV or Parquet table.
        names: names of its columns, where they are others.

    Raises:
        DataError: a column is missing, has an empty value, or one that is not of its kind.
    """
    return _read(path, EXPOSURES, ("version",), names)


def read_events(path: str | Path, names: Mapping[str, str]) -> pl.DataFrame:
    """Read ``user``, ``time`` and, if they are there, ``kind`` and ``value``; see `read_exposures`."""
    return _read(path, EVENTS, ("kind", "value"), names)


def _read(
    path: str | Path, needed: Sequence[str], optional: Sequence[str], names: Mapping[str, str]
) -> pl.DataFrame:
    ids = [names.get(name, name) for name in ("user", "run")]
    frame = read_table(path, ids=ids)
    columns = []
    for name in (*needed, *optional):
        column = names.get(name, name)
        if column in frame.columns:
            columns.append(_checked(name, frame.get_column(column), Where(str(path), column)))
        elif name in needed or name in names:
            raise DataError(
                f"{path} needs the column {column!r}; it has {', '.join(frame.columns)}. Name it with "
                f"--column {name}=NAME.{nearest(column, frame.columns)}"
            )
        else:
            dtype = pl.Float64 if name == "value" else pl.String
            columns.append(pl.repeat(_OPTIONAL[name], len(frame), dtype=dtype, eager=True).alias(name))
    return pl.DataFrame(columns)


def _checked(name: str, values: pl.Series, where: Where) -> pl.Series:
    """Return a column in its dtype, under the name that it has in an analysis."""
    if name == "value":
        return parse_number(values, where).alias(name)
    where.refuse(values.is_null(), values, f"every row needs a {name}", "Drop these rows")
    if name == "time":
        times = parse_timestamp(values, where, events=True)
        where.refuse(times.is_null(), values, "every row needs a time", "Drop these rows")
        return times.alias(name)
    found = parse_ids(values, where, "text").alias(name)
    if name == "kind":
        rule = f"the kind of an event must be {' or '.join(KINDS)}"
        where.refuse(~found.is_in(KINDS), values, rule, "Rename it, or drop these rows")
    return found


def column_names(given: Sequence[str]) -> dict[str, str]:
    """Return the names that ``--column user=user_id`` gives.

    Raises:
        ConfigError: another form, or a column that is not read.
    """
    known, found = dict.fromkeys((*EXPOSURES, *EVENTS, *_OPTIONAL)), {}
    for one in given:
        name, equals, column = one.partition("=")
        if not (equals and column) or name not in known:
            raise ConfigError(
                f"--column takes NAME=COLUMN with a name of {', '.join(known)}, got {one!r}."
                f"{'' if name in known else nearest(name, known)}"
            )
        found[name] = column
    return found
