"""Exposures and events of an experiment from tables of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from twotower.data.tables import read_table
from twotower.errors import ConfigError, DataError, nearest

EXPOSURES = ("user", "run", "time")
EVENTS = ("user", "time")
_OPTIONAL = {"version": "", "kind": "interaction", "value": None}


def read_exposures(path: str | Path, names: Mapping[str, str]) -> pl.DataFrame:
    """Read ``user``, ``run``, ``time`` and, if it is there, ``version``.

    Args:
        path: a CSV or Parquet table.
        names: names of its columns, where they are others.

    Raises:
        DataError: a column is missing or has an empty value.
    """
    return _read(path, EXPOSURES, ("version",), names)


def read_events(path: str | Path, names: Mapping[str, str]) -> pl.DataFrame:
    """Read ``user``, ``time`` and, if they are there, ``kind`` and ``value``; see `read_exposures`."""
    return _read(path, EVENTS, ("kind", "value"), names)


def _read(
    path: str | Path, needed: Sequence[str], optional: Sequence[str], names: Mapping[str, str]
) -> pl.DataFrame:
    frame = read_table(path)
    columns = {}
    for name in (*needed, *optional):
        column = names.get(name, name)
        if column not in frame.columns:
            if name in needed or name in names:
                raise DataError(
                    f"{path} needs the column {column!r}; it has {', '.join(frame.columns)}. Name it with "
                    f"--column {name}=NAME.{nearest(column, frame.columns)}"
                )
            columns[name] = pl.lit(_OPTIONAL[name]).alias(name)
            continue
        if name != "value" and frame.get_column(column).null_count():
            raise DataError(f"the column {column!r} of {path} must have no empty value; drop these rows")
        columns[name] = pl.col(column).alias(name)
    found = frame.select(columns.values())
    if found["time"].dtype.is_temporal():
        found = found.with_columns(pl.col("time").cast(pl.Datetime("us")).dt.epoch("us") / 1e6)
    if not found["time"].dtype.is_numeric():
        raise DataError(
            f"the times of {path} must be seconds since 1970 or datetimes, got {found['time'].dtype}"
        )
    kinds = {"user": pl.String, "time": pl.Float64, "value": pl.Float64}
    return found.with_columns(pl.col(name).cast(kinds.get(name, pl.String)) for name in found.columns)


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
                f"{nearest(name, known)}"
            )
        found[name] = column
    return found
