"""Which table is what, and which of its columns have a role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import polars as pl

from twotower.data.guessing.kinds import is_duration
from twotower.data.guessing.names import ITEM, LABELS, TIMES, USER, WEIGHTS, names_id, rank, table_of
from twotower.data.parse import Where, parse_timestamp
from twotower.errors import ConfigError, DataError

T = TypeVar("T")

Ask = Callable[[str, Sequence[str]], str]
"""Asks a question with the possible answers, and returns one of them."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read: where from, its rows, and the types that a RecBole header declares."""

    path: Path
    frame: pl.DataFrame
    declared: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.path.name


@dataclass(frozen=True)
class Roles:
    """The columns of the interactions with a role, beside the ids.

    Attributes:
        label: what is predicted; none for implicit data.
        why: the reason why this is the label, or why there is none.
        timestamp: when; or none.
        weight: how much a row counts; or none.
        duration: of the item, in the interactions or the items; or none.
    """

    label: str | None
    why: str
    timestamp: str | None
    weight: str | None
    duration: str | None


@dataclass(frozen=True, eq=False)
class Tables:
    """Which table is what, and the id columns that join them."""

    interactions: Table
    parts: dict[str, Table]
    """Train, test and perhaps validation files; empty with one file of interactions."""
    users: Table | None
    items: Table | None
    user: str
    item: str


def sort_tables(tables: Sequence[Table], ask: Ask | None) -> Tables:
    """Tell the interactions from the users and the items, and find the id columns.

    Args:
        tables: one or more.
        ask: for what can't be told; none to ask nothing.

    Raises:
        ConfigError: it can't be told, and nobody can be asked; the message says what and why.
    """
    logs = [table for table in tables if table_of(table.name) == "interactions"]
    with_both = [t for t in tables if _ids(t, USER) and _ids(t, ITEM) and not _is_side(t)]
    candidates = [t for t in with_both if t in logs] or with_both or logs
    if not candidates and len(tables) == 1:
        candidates = list(tables)
    if not candidates:
        candidates = [max(tables, key=lambda table: table.frame.height)]
    parts = _parts(candidates)
    if parts:
        events = parts["train"]
    elif len(candidates) == 1:
        events = candidates[0]
    else:
        events = _chosen(
            "which table holds the interactions (one row an event)?",
            {table.name: table for table in candidates},
            f"{', '.join(table.name for table in candidates)} could all be; name one of them, or call the "
            "parts train, validation and test",
            ask,
        )
    others = [table for table in tables if table is not events and table not in parts.values()]
    user, item = _id_columns(events, others, ask)
    return Tables(
        events, parts, _side(others, events, user, "users"), _side(others, events, item, "items"), user, item
    )


def find_roles(tables: Tables, ask: Ask | None) -> Roles:
    """Find the label, the timestamp, the weight and the duration; asks for the label if it can't be told."""
    events = tables.interactions
    taken = {tables.user, tables.item}
    timestamp = _time(events, taken)
    taken |= {timestamp} if timestamp else set()
    weight = _weight(events, taken)
    taken |= {weight} if weight else set()
    label, why = _label(events, taken, ask)
    taken |= {label} if label else set()
    return Roles(label, why, timestamp, weight, _duration(tables, taken))


def _label(events: Table, taken: set[str], ask: Ask | None) -> tuple[str | None, str]:
    """Return the label, none for implicit data, and the reason."""
    free = [c for c in events.frame.columns if c not in taken]
    numeric = [c for c in free if events.frame[c].dtype.is_numeric() or events.frame[c].dtype == pl.Boolean]
    known = [c for c in numeric if not is_duration(c)]
    named = [(place, c) for c in known if (place := rank(c, LABELS)) is not None]
    if named:
        return min(named)[1], "by its name"
    if len(known) == 1:
        return known[0], "the only other number of the interactions"
    if len(known) > 1 and ask is not None:
        answer = ask("which column is to be predicted?", [*known, "none"])
        return (None, "as answered") if answer == "none" else (answer, "as answered")
    if known:
        return None, f"none of {', '.join(known)} is named like one; set [schema] label if one of them is"
    return None, "the interactions have no other number"


def _time(events: Table, taken: set[str]) -> str | None:
    """Return the column with the time of the interactions, if there is one that can be read as times."""
    free = [c for c in events.frame.columns if c not in taken]
    named = sorted((place, c) for c in free if (place := rank(c, TIMES)) is not None)
    temporal = [c for c in free if events.frame[c].dtype.is_temporal()]
    for column in [*(c for _, c in named), *temporal]:
        try:
            parse_timestamp(events.frame[column], Where(events.name, column))
        except DataError:
            continue
        return column
    return None


def _weight(events: Table, taken: set[str]) -> str | None:
    """Return the column with sample weights, if one is called so."""
    free = [c for c in events.frame.columns if c not in taken and events.frame[c].dtype.is_numeric()]
    return next((c for c in free if rank(c, WEIGHTS) is not None), None)


def _duration(tables: Tables, taken: set[str]) -> str | None:
    """Return the column with the items' duration, of the interactions or the items, if one is called so."""
    columns = tables.interactions.frame.columns
    frames = [tables.interactions.frame]
    if tables.items is not None:
        columns, frames = [*columns, *tables.items.frame.columns], [*frames, tables.items.frame]
    for column in columns:
        numeric = all(f[column].dtype.is_numeric() for f in frames if column in f.columns)
        if column not in taken and is_duration(column) and numeric:
            return column
    return None


def _is_side(table: Table) -> bool:
    return table_of(table.name) in ("users", "items")


def _ids(table: Table, words: frozenset[str]) -> list[str]:
    return [c for c in table.frame.columns if names_id(c, words) and _can_be_id(table.frame[c])]


def _can_be_id(column: pl.Series) -> bool:
    return column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)


def _parts(tables: Sequence[Table]) -> dict[str, Table]:
    """Return the train, test and perhaps validation files among the tables, if that is what they are."""
    names = {"train": ("train",), "test": ("test",), "validation": ("valid", "validation", "val", "dev")}
    found: dict[str, Table] = {}
    for table in tables:
        words = set(table.path.name.lower().replace("-", "_").replace(".", "_").split("_"))
        for part, said in names.items():
            if words & set(said):
                found.setdefault(part, table)
    if not {"train", "test"} <= set(found) or len(found) != len(tables):
        return {}
    return found


def _id_columns(events: Table, others: Sequence[Table], ask: Ask | None) -> tuple[str, str]:
    found = {"user": _ids(events, USER), "item": _ids(events, ITEM)}
    for role, table in (("user", "users"), ("item", "items")):
        for side in others:
            if not found[role] and table_of(side.name) == table:
                shared = [c for c in events.frame.columns if c in side.frame.columns]
                found[role] = [c for c in shared if side.frame[c].is_unique().all()]
    chosen: dict[str, str] = {}
    for role, columns in found.items():
        left = [c for c in events.frame.columns if _can_be_id(events.frame[c]) and c not in chosen.values()]
        options = columns or left
        if len(columns) == 1:
            chosen[role] = columns[0]
            continue
        exact = [c for c in columns if rank(c, (f"{role}_id", role, f"{role}id")) is not None]
        if len(exact) == 1:
            chosen[role] = exact[0]
            continue
        why = (
            f"{', '.join(columns)} are all named like one"
            if columns
            else f"no column of {events.name} ({', '.join(events.frame.columns)}) is named like one"
        )
        chosen[role] = _chosen(
            f"which column of {events.name} is the {role}?",
            {column: column for column in options},
            f"{why}; name it '{role}_id', or run on a terminal without --yes to be asked",
            ask,
        )
    return chosen["user"], chosen["item"]


def _side(others: Sequence[Table], events: Table, ids: str, name: str) -> Table | None:
    """Return the table of users (or items): it has the id column, one row an id."""
    having = [table for table in others if ids in table.frame.columns]
    unique = [table for table in having if table.frame[ids].is_unique().all()]
    named = [table for table in others if table_of(table.name) == name]
    if unique:
        return next((table for table in unique if table in named), unique[0])
    if having:
        raise ConfigError(
            f"a table of {name} has one row an id: '{ids}' repeats in {having[0].name}; keep one row of "
            "each, or leave the file out"
        )
    if named:
        raise ConfigError(
            f"the id column has one name in all tables: {events.name} calls it '{ids}', and {named[0].name} "
            f"has {', '.join(named[0].frame.columns[:10])}; rename the column there, or leave the file out"
        )
    return None


def _chosen(question: str, options: dict[str, T], why: str, ask: Ask | None) -> T:
    if ask is None or not options:
        raise ConfigError(f"can't tell {question.rstrip('?')}: {why}")
    return options[ask(question, list(options))]
