"""From tables to a commented config that trains as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from twotower.data.audit.statistics import Floats
from twotower.data.dataset import Dataset
from twotower.data.guessing.kinds import Guess, guess_kind
from twotower.data.guessing.layouts import Layout, known_layout
from twotower.data.guessing.names import TITLES, has_word
from twotower.data.guessing.roles import Ask, Roles, Table, Tables, find_roles, sort_tables
from twotower.data.guessing.writing import Lines
from twotower.data.recbole import SUFFIXES, recbole_types
from twotower.data.tables import read_table, table_files
from twotower.errors import DataError
from twotower.schema import Schema

_TAIL_OWNS = 0.4


@dataclass(frozen=True)
class Draft:
    """A config that was guessed.

    Attributes:
        text: TOML, with the reasons in comments.
        remarks: what was found, one line each.
    """

    text: str
    remarks: tuple[str, ...]


def draft_config(paths: Sequence[str | Path], folder: Path, *, ask: Ask | None = None) -> Draft:
    """Guess a config for some tables.

    Args:
        paths: files of tables; or one folder with them, or the folder or zip of a known data set.
        folder: where the config will be; its paths are relative to it.
        ask: for what can't be told from the tables; none to ask nothing.

    Raises:
        ConfigError: something can't be told, and nobody can be asked.
        DataError: a table can't be read, or breaks a rule that no guess can mend.
    """
    given = [Path(path).expanduser() for path in paths]
    for path in given:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}; check the path")
    layout = known_layout(given)
    if layout is not None:
        return _of_layout(layout, folder)
    files = [file for path in given for file in (table_files(path) if path.is_dir() else [path])]
    if not files:
        raise DataError(f"there is no table in {given[0]}; name the files, or a folder that holds them")
    tables = [
        Table(file, read_table(file), recbole_types(file) if file.suffix in SUFFIXES else {})
        for file in dict.fromkeys(files)
    ]
    return _of_tables(sort_tables(tables, ask), tables, folder, ask)


def _of_layout(layout: Layout, folder: Path) -> Draft:
    lines = Lines(f"{layout.title}: its columns are known, so [schema] is not needed.")
    lines.value("seed", 42)
    lines.section("data")
    lines.value("source", layout.source)
    lines.value("dir", _relative(layout.place, folder))
    lines.section("split")
    if layout.source == "kuairec" and len(layout.matrices) == 2:
        lines.value("method", "files")
        lines.value("train", "big_matrix.csv")
        lines.value("test", "small_matrix.csv", "no user and video is in both")
        lines.value("validation", 0.1, "the latest tenth of train")
    else:
        lines.value("method", "random", "or temporal, per_user, leave_last, cold_items, cold_users")
        lines.value("test", 0.1)
        lines.value("validation", 0.1)
    lines.section("objective")
    lines.value("name", "squared")
    if layout.source == "kuairec":
        lines.value("transform", "cap", "a few ratios above 5 carry most of the variance")
        lines.value("cap", 5.0)
        lines.section("training")
        lines.value("epochs", 8, "with millions of interactions the best epoch comes early")
        lines.section("evaluation")
        lines.value("cap", 5.0, "metrics are given raw and capped")
    return Draft(lines.text(), (f"{layout.place} is {layout.title}",))


def _of_tables(tables: Tables, given: Sequence[Table], folder: Path, ask: Ask | None) -> Draft:
    events, roles = tables.interactions, find_roles(tables, ask)
    guesses = {
        "users": _kinds(tables.users, "users", tables.user),
        "items": _kinds(tables.items, "items", tables.item),
    }
    kinds = {
        name: {column: guess.kind for column, guess in found.items() if guess.kind is not None}
        for name, found in guesses.items()
    }
    display = [column for column in guesses["items"] if has_word(column, TITLES)][:3]
    schema = Schema(
        user=tables.user,
        item=tables.item,
        label=roles.label,
        timestamp=roles.timestamp,
        weight=roles.weight,
        duration=roles.duration,
        users=kinds["users"],
        items=kinds["items"],
        display=tuple(display),
    )
    _hold(tables, schema)
    lines = Lines("Guessed by `twotower init`: read it through, and correct what is wrong.")
    lines.value("seed", 42)
    lines.section("data")
    if not tables.parts:
        lines.value("interactions", _relative(events.path, folder), f"{events.frame.height:,} rows")
    for name, table in (("users", tables.users), ("items", tables.items)):
        if table is not None:
            lines.value(name, _relative(table.path, folder), f"{table.frame.height:,} rows")
    _write_schema(lines, tables, schema, roles.why)
    for name, found in guesses.items():
        _write_kinds(lines, name, found)
    y = None if roles.label is None else _labels(events, roles.label)
    _settings(lines, tables, roles.timestamp, y, folder)
    return Draft(lines.text(), tuple(_remarks(tables, given, roles, guesses)))


def _write_schema(lines: Lines, tables: Tables, schema: Schema, why: str) -> None:
    frame = tables.interactions.frame
    lines.section("schema")
    lines.value("user", schema.user, f"{frame[schema.user].n_unique():,} users")
    lines.value("item", schema.item, f"{frame[schema.item].n_unique():,} items")
    if schema.label is None:
        lines.comment(f"no label: {why}")
    else:
        y = _labels(tables.interactions, schema.label)
        lines.value("label", schema.label, f"{why}; from {y.min():g} to {y.max():g}, mean {y.mean():.3g}")
    reasons = {"timestamp": "", "weight": "how much each row counts", "duration": "for slices, and debiasing"}
    for role, reason in reasons.items():
        if getattr(schema, role) is not None:
            lines.value(role, getattr(schema, role), reason)
    if schema.display:
        lines.value("display", list(schema.display), "shown beside recommendations")
    unused = [c for c in frame.columns if c not in (*schema.interaction_columns(), schema.duration)]
    if unused:
        lines.comment(f"not read: {', '.join(unused)}")


def _write_kinds(lines: Lines, name: str, guesses: dict[str, Guess]) -> None:
    if guesses:
        lines.section(f"schema.{name}")
    for column, guess in guesses.items():
        if guess.kind is None:
            lines.comment(f"{column} is left out: {guess.why}")
        else:
            lines.value(column, guess.kind.value, guess.why)


def _remarks(
    tables: Tables, given: Sequence[Table], roles: Roles, guesses: dict[str, dict[str, Guess]]
) -> Iterator[str]:
    label = f"label '{roles.label}'" if roles.label else "no label"
    yield f"{tables.interactions.name}: user '{tables.user}', item '{tables.item}', {label} ({roles.why})"
    for name, found in guesses.items():
        for column, guess in found.items():
            if guess.kind is None:
                yield f"{name}, column '{column}' is left out: {guess.why}"
    used = [tables.interactions, tables.users, tables.items, *tables.parts.values()]
    for table in given:
        if not any(table is one for one in used):
            yield f"{table.name} is not used: it has neither the users' nor the items' ids"


def _labels(events: Table, label: str) -> Floats:
    y: Floats = events.frame[label].cast(pl.Float64).to_numpy()
    return y


def _settings(lines: Lines, tables: Tables, timestamp: str | None, y: Floats | None, folder: Path) -> None:
    lines.section("split")
    if tables.parts:
        lines.value("method", "files")
        for part, table in tables.parts.items():
            lines.value(part, _relative(table.path, folder), f"{table.frame.height:,} rows")
    else:
        others = "temporal, per_user, leave_last" if timestamp else "per_user"
        lines.value("method", "random", f"or {others}, cold_items, cold_users")
        lines.value("test", 0.1)
        lines.value("validation", 0.1)
    lines.section("objective")
    if y is None:
        lines.value("name", "all_pairs", "learns to rank: there is no label to predict")
    elif set(np.unique(y).tolist()) == {0.0, 1.0}:
        lines.value("name", "logistic", "the label is yes or no")
    else:
        lines.value("name", "squared")
        _cap(lines, y)


def _cap(lines: Lines, y: Floats) -> None:
    """Cap a label of which a few extreme values own the squared error."""
    if len(y) < 1000 or len(np.unique(y)) <= 20:
        return
    squares = np.sort(np.square(y - y.mean()))
    owned = float(squares[-(len(y) // 100) :].sum() / squares.sum())
    if owned > _TAIL_OWNS:
        cap = float(f"{np.quantile(y, 0.99):.2g}")
        lines.value("transform", "cap", f"1% of the labels own {owned:.0%} of the variance")
        lines.value("cap", cap)
        lines.section("evaluation")
        lines.value("cap", cap, "metrics are given raw and capped")


def _kinds(table: Table | None, name: str, ids: str) -> dict[str, Guess]:
    if table is None:
        return {}
    return {
        column: guess_kind(table.frame[column], table=name, declared=table.declared.get(column))
        for column in table.frame.columns
        if column != ids
    }


def _hold(tables: Tables, schema: Schema) -> None:
    """Check all the tables against the schema, as training will."""
    for table in tables.parts.values() or [tables.interactions]:
        sources = {"interactions": str(table.path)}
        users = None if tables.users is None else tables.users.frame
        items = None if tables.items is None else tables.items.frame
        Dataset.of(table.frame, users, items, schema=schema, sources=sources)


def _relative(path: Path, folder: Path) -> str:
    """Return the path as seen from the config's folder, or absolute if it is far away."""
    try:
        seen = Path(os.path.relpath(path.absolute(), folder.absolute()))
    except ValueError:  # on another drive
        return path.absolute().as_posix()
    return (path.absolute() if seen.parts[:3] == ("..", "..", "..") else seen).as_posix()
