"""Tell interactions, users and items apart, and find the id columns that join them: by names and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from twotower.audit.guessing.names import (
    EMAILS,
    EVENTS,
    ITEM,
    LABELS,
    TIMES,
    USER,
    ends_like_id,
    has_word,
    likelihood,
    names_id,
    rank,
    table_of,
    tokens,
)
from twotower.core.where import Where
from twotower.data.checks import require_columns
from twotower.data.raw_text import UTF8
from twotower.data.remote import Location
from twotower.data.time_text import looks_like_times
from twotower.errors import ConfigError

T = TypeVar("T")

Ask = Callable[[str, Sequence[str]], str]
"""Asks a question with possible answers, and returns one of them."""

_WORDS = {"user": USER, "item": ITEM}
_OVERLAP = 0.5
"""Share of the ids of the interactions that a column with another name must contain to be their key."""


@dataclass(frozen=True)
class Told:
    """Settings from the command line, which need not be guessed.

    Attributes:
        user: the column of the interactions with the user; None to guess it.
        item: the one with the item.
        label: the one with the label, or ``"none"``.
        timestamp: the one with the time, or ``"none"``.
        predict: whether to predict the label rather than rank items; None to ask, or else rank.
    """

    user: str | None = None
    item: str | None = None
    label: str | None = None
    timestamp: str | None = None
    predict: bool | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """A table.

    Attributes:
        path: its path.
        frame: its rows.
        declared: the types in a RecBole header.
        named: whether its file was named explicitly, not found in a folder.
        columns: guessed names of its columns, if its file has no header.
        rows: the data row (from 0) of each row of the frame, if some were left out.
        encoding: of its text.
    """

    path: Location
    frame: pl.DataFrame
    declared: Mapping[str, str] = field(default_factory=dict)
    named: bool = True
    columns: tuple[str, ...] = ()
    rows: pl.Series | None = None
    encoding: str = UTF8

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.path.name

    def where(self, column: str) -> Where:
        """Return where a column is, for messages."""
        return Where(self.name, column, self.rows)


@dataclass(frozen=True, eq=False)
class Tables:
    """The roles of the tables, and the id columns that join them.

    Attributes:
        interactions: one row per event; the training file if there are several sets.
        parts: training, test and perhaps validation files; empty with one file of interactions.
        users: features of users; or None.
        items: features of items; or None.
        user: the column of the interactions with the user.
        item: the one with the item.
        user_key: the users' column with the same ids.
        item_key: the items' column with the same ids.
        why: role -> why this is its column, if the name alone does not tell.
    """

    interactions: Table
    parts: Mapping[str, Table]
    users: Table | None
    items: Table | None
    user: str
    item: str
    user_key: str
    item_key: str
    why: Mapping[str, str]


def sort_tables(tables: Sequence[Table], told: Told, ask: Ask | None) -> Tables:
    """Tell the interactions, users and items apart, and find the id columns.

    Args:
        tables: one or more.
        told: columns that need not be guessed.
        ask: asks the user about ambiguous cases; None: no questions.

    Raises:
        ConfigError: something is ambiguous, and no questions are allowed; the message says what and why.
        DataError: a given column does not exist.
    """
    parts = _parts(_candidates(tables, told))
    events = parts["train"] if parts else _events(_candidates(tables, told), ask)
    others = [table for table in tables if table is not events and table not in parts.values()]
    user, item, why = _id_columns(events, others, told, ask)
    users, user_key = _side(others, events, user, "user")
    items, item_key = _side([table for table in others if table is not users], events, item, "item")
    return Tables(events, parts, users, items, user, item, user_key, item_key, why)


def can_be_id(column: pl.Series) -> bool:
    """Return whether a column may contain ids: integers, strings, or whole floats."""
    if column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return True
    if not column.dtype.is_float():
        return False
    known = column.fill_nan(None).drop_nulls()
    return bool(len(known)) and bool((known == known.round()).all()) and known.n_unique() > 2


def is_key(column: pl.Series) -> bool:
    """Return whether all values of a column are distinct."""
    return can_be_id(column) and not column.null_count() and column.n_unique() == len(column)


def _candidates(tables: Sequence[Table], told: Told) -> Sequence[Table]:
    """Return the tables that may be the interactions; more than one if this is ambiguous."""
    if told.user is not None and told.item is not None:
        found = [table for table in tables if {told.user, told.item} <= set(table.frame.columns)]
        with_both = [table for table in found if len(tables) == 1 or not _is_side(table)] or found
    else:
        with_both = [t for t in tables if _ids(t, "user") and _ids(t, "item") and not _is_side(t)]
    logs = [table for table in tables if table_of(table.name) == "interactions"]
    candidates = [table for table in with_both if table in logs] or with_both or logs
    if not candidates:
        return [max(tables, key=lambda table: table.frame.height)]
    graded = [table for table in candidates if _has_label(table)]
    return graded if len(graded) == 1 and not _parts(candidates) else candidates


def _is_side(table: Table) -> bool:
    """Return whether a table has one row per user or item: by the values, and by the name only if they
    agree."""
    ids = [*_ids(table, "user"), *_ids(table, "item")]
    return table.frame.height > 1 and any(is_key(table.frame[column]) for column in ids)


def _has_label(table: Table) -> bool:
    names = table.frame.columns
    return any(rank(name, LABELS) is not None or rank(name, EVENTS) is not None for name in names)


def _events(candidates: Sequence[Table], ask: Ask | None) -> Table:
    if len(candidates) == 1:
        return candidates[0]
    return chosen(
        "which table contains the interactions (one row per event)?",
        {table.name: table for table in candidates},
        f"{', '.join(table.name for table in candidates)} all could be; pass only one of them, or name the "
        "files train, validation and test",
        ask,
    )


def _parts(tables: Sequence[Table]) -> dict[str, Table]:
    """Return the training, test and perhaps validation files among the tables, if there are any."""
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


def _ids(table: Table, role: str) -> list[str]:
    return [c for c in table.frame.columns if names_id(c, _WORDS[role]) and can_be_id(table.frame[c])]


def _id_columns(
    events: Table, others: Sequence[Table], told: Told, ask: Ask | None
) -> tuple[str, str, dict[str, str]]:
    found: dict[str, str] = {}
    why: dict[str, str] = {}
    for role in ("user", "item"):
        said = getattr(told, role)
        if said is not None:
            require_columns(events.frame.columns, [said], events.name)
            found[role] = said
    for role in ("user", "item"):
        if role not in found:
            column, reason = _named_id(role, events, others, set(found.values()))
            if column is not None:
                found[role], why[role] = column, reason
    for role in ("user", "item"):
        if role not in found:
            found[role], why[role] = _other_id(role, events, set(found.values()), ask)
    if found["user"] == found["item"]:
        raise ConfigError(f"the user and the item must be different columns, got '{found['user']}' for both")
    return found["user"], found["item"], why


def _named_id(role: str, events: Table, others: Sequence[Table], taken: set[str]) -> tuple[str | None, str]:
    """Return the column of a role by its name, or as the key of another table; and why, if there are
    several."""
    frame = events.frame
    named = [column for column in _ids(events, role) if column not in taken]
    if len(named) == 1:
        return named[0], ""
    joined = [column for column in named if any(is_key_of(frame[column], t) for t in others)]
    exact = [c for c in named if rank(c, (f"{role}_id", role, f"{role}id")) is not None]
    places = {column: likelihood(column, _WORDS[role]) for column in joined or named}
    likeliest = [column for column, place in places.items() if place == min(places.values())]
    coded = [column for column in likeliest if ends_like_id(column)]
    for columns, reason in (
        (joined, "with a separate table"),
        (exact, "with the most explicit name"),
        (likeliest, "with the likeliest name"),
        (coded, "named like a code"),
    ):
        if len(columns) == 1:
            return columns[0], f"of {', '.join(named)} the one {reason}"
    if not named:
        left = [c for c in frame.columns if can_be_id(frame[c]) and c not in taken]
        keyed = [c for c in left if any(_keyed(frame[c], table, role) for table in others)]
        if len(keyed) == 1:
            return keyed[0], "the key of another table"
        mailed = [c for c in left if has_word(c, EMAILS)]
        if role == "user" and len(mailed) == 1:
            return mailed[0], "an e-mail address, by its name"
    return None, ""


def _other_id(role: str, events: Table, taken: set[str], ask: Ask | None) -> tuple[str, str]:
    """Return the column of a role that no name tells: the only one left, or the user's answer."""
    frame = events.frame
    named = [column for column in _ids(events, role) if column not in taken]
    other = USER if role == "item" else ITEM
    left = [c for c in frame.columns if can_be_id(frame[c]) and c not in taken and not names_id(c, other)]
    plain = [c for c in left if _repeats(frame[c]) and rank(c, (*LABELS, *TIMES, *EVENTS)) is None]
    if not named and len(taken) == 1 and len(plain) == 1:
        return plain[0], "the only other column with ids"
    because = f"no column of {events.name} ({', '.join(frame.columns)}) is named like one"
    if named:
        because = f"{' and '.join(named)} are {'both' if len(named) == 2 else 'all'} named like one"
    question = f"which column of {events.name} is the {role}?"
    options = {column: column for column in named or left}
    return chosen(question, options, f"{because}; name it with --{role} COLUMN", ask), "as answered"


def _repeats(column: pl.Series) -> bool:
    """Return whether ids repeat, and are not times."""
    if looks_like_times(column.head(1000)):
        return False
    return 2 * column.n_unique() <= len(column) or column.dtype == pl.String


def _keyed(column: pl.Series, table: Table, role: str) -> bool:
    """Return whether a column is the key of a table that belongs to a role, or at least to no other."""
    other = {"user": "items", "item": "users"}[role]
    said = table_of(table.name)
    if column.name not in table.frame.columns or said == other or not is_key_of(column, table):
        return False
    # A second table with no telling name has the items: few people have only a table of users.
    return said == f"{role}s" or role == "item"


def is_key_of(column: pl.Series, table: Table) -> bool:
    """Return whether the table has a row for each value: a key of the same name with most of the values."""
    name = column.name
    return (
        name in table.frame.columns
        and is_key(table.frame[name])
        and column.n_unique() < len(column)
        and overlap(column, table.frame[name]) >= _OVERLAP
    )


def overlap(ids: pl.Series, key: pl.Series) -> float:
    """Return the share of the distinct ids that are in a key."""
    known = _as_text(ids).drop_nulls().unique()
    return float(known.is_in(_as_text(key).implode()).to_numpy().mean()) if len(known) else 0.0


def _as_text(ids: pl.Series) -> pl.Series:
    return (ids.fill_nan(None).cast(pl.Int64) if ids.dtype.is_float() else ids).cast(pl.String)


def _side(others: Sequence[Table], events: Table, ids: str, role: str) -> tuple[Table | None, str]:
    """Return the table of users (or items), and its key: one row per id."""
    keys = [(table, key) for table in others for key in _keys(table, events, ids, role)]
    if keys:
        # A table with a telling name comes first, then a key of the same name.
        return min(keys, key=lambda pair: (table_of(pair[0].name) != f"{role}s", pair[1] != ids))
    named = [table for table in others if table_of(table.name) == f"{role}s"]
    for table in [*named, *others]:
        if table.named and ids in table.frame.columns:
            raise ConfigError(
                f"a table of {role}s must have one row per id: '{ids}' repeats in {table.name}; keep one "
                "row of each, or leave the file out"
            )
    if named and named[0].named:
        raise ConfigError(
            f"a table of {role}s must have a column with the ids of the interactions: {events.name} has "
            f"them in '{ids}', and no column of {named[0].name} ({', '.join(named[0].frame.columns[:10])}) "
            "contains them, one row per id; correct it, or leave the file out"
        )
    return None, ids


def _keys(table: Table, events: Table, ids: str, role: str) -> Iterable[str]:
    """Yield the columns that may be the table's key for the ids of the interactions, the likeliest first."""
    frame = table.frame
    if ids in frame.columns:
        if is_key(frame[ids]):
            yield ids
        return
    for column in frame.columns:
        if not is_key(frame[column]):
            continue
        called = names_id(column, _WORDS[role]) or tokens(column) == tokens(ids)
        plain = tokens(column) in (["id"], ["key"], ["code"], ["nr"])
        if (called or (plain and table_of(table.name) in (f"{role}s", None))) and (
            overlap(events.frame[ids], frame[column]) >= _OVERLAP
        ):
            yield column


def chosen(question: str, options: Mapping[str, T], why: str, ask: Ask | None) -> T:
    """Return the answer to a question; a `ConfigError` with the reason if no questions are allowed."""
    if ask is None or not options:
        raise ConfigError(f"can't tell {question.rstrip('?')}: {why}")
    return options[ask(question, list(options))]
