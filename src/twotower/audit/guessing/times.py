"""Guess the column with the time of the interactions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from twotower.audit.guessing.kinds import is_duration
from twotower.audit.guessing.names import TIMES, ends_like_id, rank
from twotower.audit.guessing.tables import Table, Told
from twotower.core.where import Found
from twotower.data.checks import require_columns
from twotower.data.parse import parse_timestamp
from twotower.data.time_text import looks_like_times, said
from twotower.errors import DataError

_DAY = 86_400.0
_FIRST_YEAR = 365 * 86_400
"""Seconds of 1970: smaller numbers count days, weeks or steps and are not dates."""


def event_time(events: Table, taken: set[str], told: Told, unread: dict[str, str]) -> tuple[str | None, str]:
    """Return the column with the time of the interactions, if one can be read as times, and its description.

    A column that also has the time of day is preferred to one of its days, such as ``ordered_at`` to the
    folders ``day=2025-12-31`` of a table.

    Args:
        events: the interactions.
        taken: columns that have a role.
        told: what the user said.
        unread: gets the reasons why columns are not the time.
    """
    frame = events.frame
    if told.timestamp == "none":
        return None, ""
    if told.timestamp is not None:
        require_columns(frame.columns, [told.timestamp], events.name)
        return told.timestamp, _described(frame[told.timestamp], events)
    free = [c for c in frame.columns if c not in taken]
    named = sorted((place, c) for c in free if (place := rank(c, TIMES)) is not None)
    others = [c for c in free if not ends_like_id(c) and looks_like_times(frame[c].head(1000))]
    columns = [c for c in dict.fromkeys([*(c for _, c in named), *others]) if _may_be(frame[c])]
    for place, column in enumerate(columns, 1):
        try:
            described = _described(frame[column], events)
        except DataError as error:
            unread[column] = f"it can't be read as times: {error}"
            continue
        finer = _finer(events, column, columns[place:])
        if finer is None:
            return column, described
        unread[column] = f"it is the day of {finer}"
        return finer, _described(frame[finer], events)
    return None, ""


def _may_be(column: pl.Series) -> bool:
    empty = column.null_count() == len(column)
    return not (empty or column.dtype == pl.Boolean or is_duration(column.name))


def _finer(events: Table, days: str, others: Iterable[str]) -> str | None:
    """Return the column whose times, in UTC, are on the days of a column of nothing but days."""
    day = _seconds(events, days)
    if (day % _DAY != 0).any():
        return None
    for column in others:
        try:
            times = _seconds(events, column)
        except DataError:
            continue
        if (times % _DAY != 0).any() and (times - times % _DAY).equals(day, check_names=False):
            return column
    return None


def _seconds(events: Table, column: str, found: Found | None = None) -> pl.Series:
    return parse_timestamp(events.frame[column], events.where(column), found=found, events=True)


def _described(column: pl.Series, events: Table) -> str:
    """Return the range of times, and how they are written if not in the plain way."""
    found = Found()
    seconds = _seconds(events, column.name, found)
    if column.dtype.is_numeric() and (seconds.drop_nulls() < _FIRST_YEAR).all():
        at = column.drop_nulls().to_numpy()
        return f"numbers from {at.min():g} to {at.max():g}, later is larger; not dates"
    ends = [datetime.fromtimestamp(float(end), UTC).date() for end in (seconds.min(), seconds.max())]  # type: ignore[arg-type]
    written = found.settings.get(column.name, {}).get("format")
    if not written:
        return f"from {ends[0]} to {ends[1]}"
    row = seconds.is_not_null().arg_max() or 0
    return f"from {ends[0]} to {ends[1]}; {said(written, column[row], seconds[row] or 0.0)}"
