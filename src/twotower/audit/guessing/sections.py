"""Write the sections of a guessed config, each line with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from twotower.audit.guessing.kinds import Guess
from twotower.audit.guessing.labels import Label, Nature
from twotower.audit.guessing.roles import Roles
from twotower.audit.guessing.tables import Tables
from twotower.audit.guessing.writing import Lines
from twotower.audit.statistics import Floats
from twotower.config.parts import first_that
from twotower.config.schema import Schema
from twotower.core.wording import count_of
from twotower.data.raw_text import UTF8
from twotower.data.remote import Location
from twotower.data.splits import SPLITS, HoldOut

_TAIL_OWNS = 0.4
"""Share of the variance in 1% of the labels from which they are capped."""


def write_data(lines: Lines, tables: Tables, schema: Schema, roles: Roles, folder: Path) -> None:
    """Write ``[data]``: the files, and how repeated rows are treated."""
    events, label = tables.interactions, roles.label
    lines.section("data")
    if not tables.parts:
        lines.value("interactions", relative(events.path, folder), count_of(events.frame.height, "row"))
    for name, table in (("users", tables.users), ("items", tables.items)):
        if table is not None:
            lines.value(name, relative(table.path, folder), count_of(table.frame.height, "row"))
    if events.columns:
        lines.value(
            "columns",
            list(events.columns),
            "no header: names are guessed from position and values, correct them",
        )
    encoding = _encoding(tables)
    if encoding:
        lines.value("encoding", encoding, "the text is not UTF-8")
    if label is not None and label.nature is Nature.COUNT and _contradict(events.frame, schema):
        lines.value("repeats", "sum", "labels of rows with the same user, item and time are summed")


def _encoding(tables: Tables) -> str | dict[str, str]:
    """Return the encoding of all tables; or of those that are not UTF-8, by table."""
    first = next((part for part in tables.parts.values() if part.encoding != UTF8), tables.interactions)
    read = {"interactions": first, "users": tables.users, "items": tables.items}
    found = {name: table.encoding for name, table in read.items() if table is not None}
    if len(set(found.values())) == 1 and first.encoding != UTF8:
        return first.encoding
    return {name: encoding for name, encoding in found.items() if encoding != UTF8}


def write_split(lines: Lines, tables: Tables, roles: Roles, folder: Path, *, predicts: bool) -> None:
    """Write ``[split]``."""
    lines.section("split")
    if tables.parts:
        lines.value("method", "files")
        for part, table in tables.parts.items():
            lines.value(part, relative(table.path, folder), count_of(table.frame.height, "row"))
    elif roles.part is not None:
        lines.value("column", roles.part, "it marks training and test rows")
    elif roles.own_order:
        lines.value(
            "method", "leave_last", "each user's last row is for testing, the one before for validation"
        )
    else:
        write_shares(lines, timestamp=roles.timestamp is not None, predicts=predicts)


def write_shares(lines: Lines, *, timestamp: bool, predicts: bool) -> None:
    """Write a split by shares: per user to rank, of all rows to predict."""
    first = "random" if predicts else "per_user"
    others = [
        f"{kind.name} ({kind.hint})" if kind.hint else kind.name
        for kind in SPLITS.classes()
        if issubclass(kind, HoldOut) and kind.name != first and (timestamp or not kind.by_time)
    ]
    lines.value("method", first, f"or {', '.join(others)}")
    lines.value("test", 0.1 if predicts else 0.2)
    lines.value("validation", 0.1)


def write_positive(lines: Lines, label: Label) -> None:
    """Write the rule for positives."""
    lines.section("positive")
    if label.threshold is not None:
        lines.value("threshold", label.threshold, label.positives)
    elif label.quantile is not None:
        lines.value("quantile", label.quantile, label.positives)
    else:
        lines.comment(f"no rule: {label.positives}")


def write_ranks(lines: Lines, other: str = "") -> None:
    """Say that the model ranks, by a kind of towers that validation chooses.

    Args:
        lines: to write to.
        other: the objective that predicts the label; empty without one.
    """
    lines.section("model")
    lines.comment('ranks; kind = "auto", the default, keeps what validation finds best of several kinds')
    if other:
        lines.comment(f"to predict the label instead: [objective] with name = '{other}'")


def write_objective(lines: Lines, label: Label | None, *, predicts: bool) -> None:
    """Write ``[objective]``."""
    ranks = first_that(predicts=False)
    if label is None:
        write_ranks(lines)
        return
    if not predicts:
        write_ranks(lines, first_that(predicts=True, logits=label.nature is Nature.YES_NO))
        return
    lines.section("objective")
    if set(np.unique(label.y).tolist()) == {0.0, 1.0}:
        lines.value("name", first_that(predicts=True, logits=True), "the label is yes or no")
    else:
        lines.value("name", first_that(predicts=True), f"predicts the label; '{ranks}' ranks")
        write_cap(lines, label.y)


def write_ids(lines: Lines, tables: Tables, schema: Schema, roles: Roles) -> None:
    """Write the roles of the ids."""
    frame = tables.interactions.frame
    for role, column in (("user", schema.user), ("item", schema.item)):
        reason = tables.why.get(role, "")
        number = f"{frame[column].drop_nulls().n_unique():,} {role}s"
        lines.value(role, column, f"{number}; {reason}" if reason else number)
        if column in roles.placeholders:
            lines.comment(roles.placeholders[column])
    for key in ("users_id", "items_id"):
        if getattr(schema, key) is not None:
            lines.value(key, getattr(schema, key), "its name in the other table")
    if roles.lost:
        share = f"{count_of(roles.lost, 'row')} ({roles.lost / frame.height:.1%}) without a user or an item"
        lines.value("missing_ids", "drop", share)


def write_schema(lines: Lines, tables: Tables, schema: Schema, roles: Roles) -> None:
    """Write ``[schema]``: the roles."""
    frame = tables.interactions.frame
    lines.section("schema")
    write_ids(lines, tables, schema, roles)
    label = roles.label
    if label is None:
        lines.comment(f"no label: {roles.why}")
    else:
        y = label.y
        said = f"{label.nature.value}, {label.why}; from {y.min():g} to {y.max():g}, mean {y.mean():.3g}"
        lines.value("label", label.column, said)
        if label.levels:
            lines.value("levels", list(label.levels), "count 1, 2, ...")
    reasons = {
        "timestamp": roles.times,
        "weight": "weight of each row",
        "duration": "for slices and debiasing",
    }
    for role, reason in reasons.items():
        if getattr(schema, role) is not None:
            lines.value(role, getattr(schema, role), reason)
    if schema.display:
        lines.value("display", list(schema.display), "shown with recommendations")
    within = [column for columns in roles.within.values() for column in columns]
    used = {*schema.interaction_columns(), schema.duration, roles.part, *within}
    unused = [column for column in frame.columns if column not in used]
    for column in unused:
        if column in roles.unread:
            lines.comment(f"{column} is not read: {roles.unread[column]}")
    plain = [column for column in unused if column not in roles.unread]
    if plain:
        lines.comment(f"not read: {', '.join(plain)}")
    if unused:
        lines.comment("what is known when recommendations are asked for can be read: see [schema.context]")


def _contradict(frame: pl.DataFrame, schema: Schema) -> bool:
    """Return whether rows of one user, item and time have different labels."""
    key = [column for column in (schema.user, schema.item, schema.timestamp) if column is not None]
    rows = frame.select(*key, schema.label).unique()
    return bool(rows.select(key).is_duplicated().any())


def write_kinds(lines: Lines, name: str, guesses: dict[str, Guess], *, within: bool) -> None:
    """Write the kinds of the feature columns of users or items."""
    if guesses:
        lines.section(f"schema.{name}")
    if guesses and within:
        one = "an item" if name == "items" else "a user"
        lines.comment(f"columns of the interactions with the same value in all rows of {one}")
    for column, guess in guesses.items():
        if guess.kind is None:
            lines.comment(f"{column} is left out: {guess.why}")
        else:
            lines.value(column, guess.kind.plain(), guess.why)


def write_cap(lines: Lines, y: Floats) -> None:
    """Cap a label if a few extreme values dominate the squared error."""
    if len(y) < 1000 or len(np.unique(y)) <= 20:
        return
    squares = np.sort(np.square(y - y.mean()))
    owned = float(squares[-(len(y) // 100) :].sum() / squares.sum())
    if owned > _TAIL_OWNS:
        cap = float(f"{np.quantile(y, 0.99):.2g}")
        lines.value("transform", "cap", f"1% of the labels have {owned:.0%} of the variance")
        lines.value("cap", cap)
        lines.section("evaluation")
        lines.value("cap", cap, "metrics are reported raw and capped")


def relative(path: Location, folder: Path) -> str:
    """Return the path relative to the config's folder, or absolute if it is far away; an address as it is."""
    if not isinstance(path, Path):
        return str(path)
    try:
        seen = Path(os.path.relpath(path.absolute(), folder.absolute()))
    except ValueError:  # on another drive
        return path.absolute().as_posix()
    return (path.absolute() if seen.parts[:3] == ("..", "..", "..") else seen).as_posix()
