"""Guess the roles of the columns of the interactions, besides the ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from twotower.audit.guessing.kinds import is_duration
from twotower.audit.guessing.labels import Label, graded, speaks_of_steps, stepped
from twotower.audit.guessing.names import (
    CLOCK,
    DISLIKES,
    EVENTS,
    LABELS,
    ORDERS,
    PRICES,
    SCALES,
    TIMES,
    WEIGHTS,
    ends_like_id,
    has_word,
    rank,
)
from twotower.audit.guessing.number_cells import FIX, not_all_numbers, numbers
from twotower.audit.guessing.tables import Ask, Table, Tables, Told
from twotower.audit.guessing.times import event_time
from twotower.audit.statistics import Floats
from twotower.core.wording import count_of
from twotower.data.checks import require_columns
from twotower.data.merged import features_within
from twotower.data.parse import missing_ids
from twotower.data.placeholders import placeholder_ids
from twotower.data.splits.column import PART_WORDS
from twotower.data.time_text import looks_like_times
from twotower.errors import ConfigError, DataError

_WORDS = 20
"""Maximum number of distinct words in a column with the action."""
_TAIL = 20.0
"""Maximum ratio of the 99% quantile of sample weights to their median."""
_UNRATED = 0.4
"""Share of rows with a sentinel instead of a label from which the label is not used."""
_UNORDERED = (
    "it contains the action, in {what} of unknown order, so every row counts the same; to grade them, set "
    'label = "{column}" and levels = ["weakest", ..., "strongest"]'
)
_CLOCK = 0.95
"""Minimum share of the users whose first event has the same number, for a position counted from there."""


@dataclass(frozen=True)
class Roles:
    """The columns of the interactions with a role, besides the ids.

    Attributes:
        label: the label; None for implicit data.
        why: why there is no label; empty if there is one.
        timestamp: the time; or None.
        times: a description of the timestamps.
        own_order: whether the timestamp is only the order within each user, not a clock.
        weight: the weight of a row; or None.
        duration: the item's duration, in the interactions or the items; or None.
        part: the column that names the set of a row (train, test); or None.
        within: ``users`` and ``items`` -> the columns of the interactions that are their features.
        lost: number of rows without a user or an item.
        placeholders: id column -> a remark on a frequent id that probably means "none".
        unread: other columns -> why they have no role, if there is a reason to mention.
    """

    label: Label | None
    why: str
    timestamp: str | None
    times: str
    own_order: bool
    weight: str | None
    duration: str | None
    part: str | None
    within: Mapping[str, list[str]]
    lost: int
    placeholders: Mapping[str, str]
    unread: Mapping[str, str] = field(default_factory=dict)


def find_roles(tables: Tables, told: Told, ask: Ask | None) -> Roles:
    """Find the label, the timestamp, the weight and the duration; asks for the label if it is ambiguous.

    Raises:
        ConfigError: the label is constant, or has words of unknown order.
        DataError: a given column does not exist, or does not fit its role.
    """
    events, unread = _with_ids(tables), dict[str, str]()
    taken = {tables.user, tables.item}
    part = _part(events.frame, taken)
    taken |= {part} if part else set()
    timestamp, times = event_time(events, taken, told, unread)
    taken |= {timestamp} if timestamp else set()
    order = _own_order(events, tables.user, taken, unread)
    own_order = timestamp is None and order is not None and told.timestamp is None
    if own_order:
        timestamp, times = order, "order within each user, not a clock: for leave_last, not temporal"
    taken |= set(unread) | ({order} if order else set())
    label, why = _label(events, taken, told, ask, unread)
    taken |= {label.column} if label else set()
    weight = _weight(events, taken, unread) if label else None
    taken |= {weight} if weight else set()
    unread = {column: reason for column, reason in unread.items() if column != timestamp}
    duration = _duration(tables, taken)
    within = _within(tables, events.frame, taken | {duration or ""})
    merged = [column for columns in within.values() for column in columns]
    unread = {column: reason for column, reason in unread.items() if column not in merged}
    lost = tables.interactions.frame.height - events.frame.height
    placeholders = {
        column: f"{', '.join(map(str, found))} of '{column}' probably means 'none': drop these rows, or "
        "leave the id empty, with missing_ids = 'drop'"
        for column in (tables.user, tables.item)
        if (found := placeholder_ids(events.frame[column]))
    }
    return Roles(
        label, why, timestamp, times, own_order, weight, duration, part, within, lost, placeholders, unread
    )


def _part(frame: pl.DataFrame, taken: set[str]) -> str | None:
    """Return the column with the values train and test."""
    for column in frame.columns:
        if column in taken or frame[column].dtype not in (pl.String, pl.Categorical, pl.Enum):
            continue
        said = {str(word).strip().lower() for word in frame[column].unique()}
        found = [part for part, words in PART_WORDS.items() if said & set(words)]
        known = {word for words in PART_WORDS.values() for word in words}
        if {"train", "test"} <= set(found) and said <= known:
            return column
    return None


def _within(tables: Tables, frame: pl.DataFrame, taken: set[str]) -> dict[str, list[str]]:
    """Return the features of users and items in the interactions: functions of the id."""
    free = [c for c in frame.columns if c not in taken and not c.startswith("Unnamed")]
    found: dict[str, list[str]] = {"users": [], "items": []}
    for name, table, ids in (("items", tables.items, tables.item), ("users", tables.users, tables.user)):
        if table is None:
            found[name] = features_within(frame, ids, [c for c in free if c not in found["items"]])
    return found


def _with_ids(tables: Tables) -> Table:
    """Return the interactions that have a user and an item."""
    frame = tables.interactions.frame
    lost = missing_ids(frame[tables.user]) | missing_ids(frame[tables.item])
    if lost.all():
        raise DataError(
            f"every row needs an id: no row of {tables.interactions.name} has both a '{tables.user}' and a "
            f"'{tables.item}'; name the columns with --user COLUMN and --item COLUMN"
        )
    if not lost.any():
        return tables.interactions
    return replace(tables.interactions, frame=frame.filter(~lost), rows=(~lost).arg_true())


def _label(
    events: Table, taken: set[str], told: Told, ask: Ask | None, unread: dict[str, str]
) -> tuple[Label | None, str]:
    """Return the label; None for implicit data, with the reason."""
    frame = events.frame
    if told.label == "none":
        return None, "as given"
    if told.label is not None:
        require_columns(frame.columns, [told.label], events.name)
        return _as_label(events, told.label, "as given"), ""
    free = [c for c in frame.columns if c not in taken and not frame[c].dtype.is_temporal()]
    values = {c: y for c in free if (y := numbers(frame[c])) is not None and not is_duration(c)}
    for column in [c for c in values if rank(c, EVENTS) is not None and rank(c, LABELS) is None]:
        del values[column]
        unread[column] = _UNORDERED.format(what="codes", column=column)
    for column, y in list(values.items()):
        times = looks_like_times(frame[column].head(1000)) or rank(column, TIMES) is not None
        if reason := "it is a time" if times else _no_label(column, y):
            del values[column]
            unread[column] = reason
    amounts = [c for c in free if not is_duration(c) and not ends_like_id(c)]
    faults = {c: fault for c in amounts if (fault := not_all_numbers(frame[c], events.where(c))) is not None}
    unread |= {c: f"its numbers can't be read: {fault}" for c, fault in faults.items()}
    named = sorted((place, c) for c in [*values, *faults] if (place := rank(c, LABELS)) is not None)
    # An action tells more than an amount, and less than a rating.
    liked = any(place % len(LABELS) < LABELS.index("playcount") for place, _ in named)
    done = None if liked else _done(frame, free, unread)
    if done is not None:
        return done, ""
    picked, why = _pick([c for _, c in named], list(values), ask)
    if picked is None:
        return None, why
    if picked in faults:
        raise faults[picked]
    label = _as_label(events, picked, why)
    empty = 0.0 if label.sentinel is None else float((label.y == label.sentinel).mean())
    if empty < _UNRATED or told.predict:
        return label, ""
    unread[picked] = f"{empty:.0%} of its values are {label.sentinel:g}, which means that there is none"
    return None, f"{unread[picked]}, so every row counts as a positive"


def _pick(named: Sequence[str], numeric: Sequence[str], ask: Ask | None) -> tuple[str | None, str]:
    """Return which numeric column is the label, if any, and why."""
    if named:
        return named[0], "by its name"
    if not numeric:
        return None, "no other column tells how much an item was liked"
    if len(numeric) == 1:
        return numeric[0], "the only other numeric column of the interactions"
    if ask is None:
        listed = ", ".join(numeric)
        return None, f"none of {listed} is named like one; pass --label COLUMN if one of them is"
    answer = ask("which column tells how much an item was liked?", [*numeric, "none"])
    return (None if answer == "none" else answer), "as answered"


def _done(frame: pl.DataFrame, free: list[str], unread: dict[str, str]) -> Label | None:
    """Return the label of a column with the action; None if there is none, or not all words are known."""
    columns = _steps(frame, free)
    if not columns:
        return None
    found = stepped(columns[0], "by its words", frame[columns[0]])
    if found is None:
        unread[columns[0]] = _UNORDERED.format(what="words", column=columns[0])
    return found


def _as_label(events: Table, column: str, why: str) -> Label:
    values = events.frame[column]
    y = numbers(values)
    if y is None:
        found = stepped(column, why, values)
        if found is None:
            if fault := not_all_numbers(values, events.where(column)):
                raise fault
            raise ConfigError(
                f"a label must be numbers, or words of known order: column '{column}' of {events.name} has "
                f"{', '.join(str(v) for v in values.unique(maintain_order=True)[:5])}; name another, or "
                "pass --label none"
            )
        return found
    missing = ~np.isfinite(y)
    if missing.any():
        raise events.where(column).first(pl.Series(missing), values, "every interaction needs a label", FIX)
    if y.min() == y.max():
        raise ConfigError(
            f"a label must have at least two values: column '{column}' of {events.name} is {y[0]:g} in all "
            f"{count_of(len(y), 'row')}; name another with --label COLUMN, or rank without one with --label "
            "none"
        )
    return graded(column, why, y)


def _no_label(column: str, y: Floats) -> str:
    """Return why a column of numbers can't be the label; empty if it can."""
    known = y[np.isfinite(y)]
    if known.min() == known.max() and not has_word(column, SCALES):
        return f"it is {known[0]:g} in every row"
    if rank(column, LABELS) is not None:
        return ""
    counted = len(known) > 20 and bool((np.diff(known) == 1).all())
    reasons = {
        "by its name it is an id or a code": ends_like_id(column),
        "a price does not tell how much the item was liked": has_word(column, PRICES),
        "the hour or the day does not tell how much the item was liked": has_word(column, CLOCK),
        "larger values are negative": has_word(column, DISLIKES),
        "it numbers the rows": counted or column.startswith(("Unnamed", "_duplicated")) or not column,
        f"{1 - len(known) / len(y):.0%} of the rows have none": len(known) < len(y),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _steps(frame: pl.DataFrame, free: list[str]) -> list[str]:
    """Return the columns with the action, by their names and words."""
    found = []
    for column in free:
        if frame[column].dtype not in (pl.String, pl.Categorical, pl.Enum) or frame[column].null_count():
            continue
        words = frame[column].unique().cast(pl.String).to_list()
        if len(words) <= _WORDS and (
            speaks_of_steps(words) or (rank(column, EVENTS) is not None and len(words) > 1)
        ):
            found.append((not speaks_of_steps(words), rank(column, EVENTS) is None, column))
    return [column for _, _, column in sorted(found)]


def _own_order(events: Table, user: str, taken: set[str], unread: dict[str, str]) -> str | None:
    """Return the column with the position of each row in its user's sequence; the first of several.

    It counts from the same number for all users: positions in steps of one, other clocks at their own pace.
    """
    frame, places, clocks = events.frame, list[str](), list[str]()
    for column in frame.columns:
        if column in taken or not frame[column].dtype.is_numeric() or frame[column].null_count():
            continue
        if _is_place(frame, user, column):
            places.append(column)
        elif rank(column, ORDERS) is not None and _is_place(frame, user, column, strict=False):
            clocks.append(column)
    unread |= dict.fromkeys(places, "the position in each user's sequence")
    unread |= dict.fromkeys(clocks, "a clock that starts with each user")
    return next(iter([*places, *clocks]), None)


def _is_place(frame: pl.DataFrame, user: str, column: str, *, strict: bool = True) -> bool:
    """Return whether a column counts the rows of each user from 0 or 1; if not strict: whether it starts
    there."""
    value = pl.col(column)
    own = frame.group_by(user).agg(low=value.min(), high=value.max(), n=pl.len(), values=value.n_unique())
    own = own.filter(pl.col("n") > 1)
    if 2 * own.height < frame[user].n_unique():
        return False
    low, high, n, values = (own[name].to_numpy() for name in ("low", "high", "n", "values"))
    starts = max(float((low == first).mean()) for first in (0, 1))
    counts = float(((values == n) & (high - low == n - 1)).mean()) if strict else 1.0
    return min(starts, counts) >= _CLOCK


def _weight(events: Table, taken: set[str], unread: dict[str, str]) -> str | None:
    """Return the column with sample weights besides a label: by its name, and values plausible for
    weights."""
    for column in events.frame.columns:
        if column in taken or rank(column, WEIGHTS) is None:
            continue
        y = numbers(events.frame[column])
        if y is None or not np.isfinite(y).all() or y.min() < 0 or y.min() == y.max():
            continue
        if float(np.quantile(y, 0.99)) > _TAIL * max(float(np.median(y)), 1e-12):
            unread[column] = "its tail is too long for a sample weight: a few rows would dominate"
            continue
        return column
    return None


def _duration(tables: Tables, taken: set[str]) -> str | None:
    """Return the column with the items' duration, in the interactions or the items, by its name."""
    columns = tables.interactions.frame.columns
    frames = [tables.interactions.frame]
    if tables.items is not None:
        columns, frames = [*columns, *tables.items.frame.columns], [*frames, tables.items.frame]
    for column in columns:
        numeric = all(f[column].dtype.is_numeric() for f in frames if column in f.columns)
        if column not in taken and is_duration(column) and numeric:
            return column
    return None
