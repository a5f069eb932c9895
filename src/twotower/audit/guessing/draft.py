"""Write a commented config for some tables; it can be trained without changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twotower.audit.guessing.kinds import UNIQUE, Guess, guess_kind
from twotower.audit.guessing.layouts import Layout, known_layout
from twotower.audit.guessing.names import ITEM, TITLES, ends_like_id, has_word, names_id
from twotower.audit.guessing.roles import Roles, find_roles
from twotower.audit.guessing.sections import (
    relative,
    write_data,
    write_kinds,
    write_objective,
    write_positive,
    write_ranks,
    write_schema,
    write_shares,
    write_split,
)
from twotower.audit.guessing.sources import exists, place, read_tables
from twotower.audit.guessing.tables import Ask, Table, Tables, Told, sort_tables
from twotower.audit.guessing.writing import Lines
from twotower.config.parts import first_that
from twotower.config.schema import Schema
from twotower.core.wording import count_of
from twotower.data.merged import split_out
from twotower.errors import ConfigError, DataError

_ONLY_SHOWN = "it differs in nearly every row; it is only shown with recommendations"


@dataclass(frozen=True)
class Draft:
    """A guessed config.

    Attributes:
        text: the TOML, with the reasons in comments.
        remarks: what was found, one line each.
    """

    text: str
    remarks: tuple[str, ...]


def draft_config(
    paths: Sequence[str | Path], folder: Path, *, told: Told | None = None, ask: Ask | None = None
) -> Draft:
    """Guess a config for some tables.

    Args:
        paths: files of tables; or one folder with them, or the folder or zip of a known data set.
        folder: the folder of the config; its paths are relative to it.
        told: columns that need not be guessed, and whether to predict the label instead of ranking.
        ask: asks the user for what the tables don't tell; None: no questions.

    Raises:
        ConfigError: something is ambiguous, and no questions are allowed; or the label is constant.
        DataError: a table can't be read, or is invalid in a way that no guess can fix.
    """
    told = told or Told()
    given = [place(path) for path in paths]
    for path in given:
        if not exists(path):
            raise DataError(f"there is no file or folder {path}; check the path")
    local = [path for path in given if isinstance(path, Path)]
    layout = known_layout(local) if len(local) == len(given) else None
    if layout is not None:
        return _of_layout(layout, folder, told, ask)
    tables = read_tables(given)
    return _of_tables(sort_tables(tables, told, ask), tables, folder, told, ask)


def _predicts(label: str | None, told: Told, ask: Ask | None) -> bool:
    """Return whether to predict the label; asks the user, and ranks if no questions are allowed."""
    if label is None and told.predict:
        raise ConfigError(
            "predicting needs a label, and none was found; name it with --label COLUMN, or rank"
        )
    if label is None or told.predict is not None or ask is None:
        return bool(told.predict)
    rank, predict = "rank items for each user", f"predict the label '{label}'"
    return ask("what should the model do?", [rank, predict]) == predict


def _how_to_predict(label: str) -> str:
    return (
        f"the config ranks items for each user; to predict '{label}' instead, run init with --predict, or "
        f"train with --set objective.name={first_that(predicts=True)}"
    )


def _of_layout(layout: Layout, folder: Path, told: Told, ask: Ask | None) -> Draft:
    label = {"kuairec": "watch_ratio", "movielens": "rating"}[layout.source]
    predicts = _predicts(label, told, ask)
    lines = Lines(f"{layout.title}: its columns are known, so [schema] is not needed.")
    lines.value("seed", 42)
    lines.section("data")
    lines.value("source", layout.source)
    lines.value("dir", relative(layout.place, folder))
    matrices = layout.source == "kuairec" and len(layout.matrices) == 2
    lines.section("split")
    if matrices:
        lines.value("method", "files")
        lines.value("train", "big_matrix.csv")
        lines.value("test", "small_matrix.csv", "no pair of user and video is in both")
        lines.value("validation", 0.1, "the latest tenth of the training rows")
    else:
        write_shares(lines, timestamp=True, predicts=predicts)
    lines.section("positive")
    if layout.source == "kuairec":
        lines.value("duration_rank", 0.8, "watched longer than 80% of the videos of similar duration")
    else:
        lines.value("threshold", 4.0, "the top of the scale; what recommendations should find")
    if not predicts:
        write_ranks(lines, first_that(predicts=True))
    else:
        lines.section("objective")
        lines.value("name", first_that(predicts=True))
    if layout.source == "kuairec" and predicts:
        lines.value("transform", "cap", "a few ratios above 5 have most of the variance")
        lines.value("cap", 5.0)
        lines.section("training")
        lines.value("epochs", 8, "with millions of interactions the best epoch comes early")
    if layout.source == "kuairec" and (predicts or matrices):
        lines.section("evaluation")
        if predicts:
            lines.value("cap", 5.0, "metrics are reported raw and capped")
        if matrices:
            lines.value("candidates", "test_pairs", "the small matrix is fully observed")
    remarks = [f"{layout.place} is {layout.title}"]
    return Draft(lines.text(), tuple(remarks if predicts else [*remarks, _how_to_predict(label)]))


def _of_tables(tables: Tables, given: Sequence[Table], folder: Path, told: Told, ask: Ask | None) -> Draft:
    events, roles = tables.interactions, find_roles(tables, told, ask)
    label = roles.label
    predicts = _predicts(label.column if label else None, told, ask)
    if predicts and label is not None and label.sentinel is not None:
        raise ConfigError(
            f"a predicted label must be known in every row: column '{label.column}' of {events.name} is "
            f"{label.sentinel:g} in {float((label.y == label.sentinel).mean()):.0%} of the rows, which "
            "means that it is missing; drop these rows, or rank"
        )
    guesses = {
        "users": _kinds(tables.users, "users", tables.user_key),
        "items": _kinds(tables.items, "items", tables.item_key),
    }
    for name, ids in (("users", tables.user), ("items", tables.item)):
        if roles.within[name]:
            merged = split_out(events.frame, ids, roles.within[name], events.name)
            guesses[name] = _kinds(Table(events.path, merged), name, ids)
    kinds = {
        name: {column: guess.name for column, guess in found.items() if guess.name is not None}
        for name, found in guesses.items()
    }
    display = [c for c, guess in guesses["items"].items() if _is_title(c, guess)][:3]
    for column in display:
        if guesses["items"][column].name is None:
            guesses["items"][column] = Guess(None, _ONLY_SHOWN)
    schema = Schema(
        user=tables.user,
        item=tables.item,
        users_id=tables.user_key if tables.user_key != tables.user else None,
        items_id=tables.item_key if tables.item_key != tables.item else None,
        label=label.column if label else None,
        levels=label.levels if label else (),
        timestamp=roles.timestamp,
        weight=roles.weight,
        duration=roles.duration,
        users=kinds["users"],
        items=kinds["items"],
        display=tuple(display),
    )
    lines = Lines("Guessed by `twotower init`: check it, and correct what is wrong.")
    lines.value("seed", 42)
    write_data(lines, tables, schema, roles, folder)
    write_schema(lines, tables, schema, roles)
    for name, found in guesses.items():
        write_kinds(lines, name, found, within=bool(roles.within[name]))
    write_split(lines, tables, roles, folder, predicts=predicts)
    if label is not None:
        write_positive(lines, label)
    write_objective(lines, label, predicts=predicts)
    return Draft(lines.text(), tuple(_remarks(tables, given, roles, guesses, predicts=predicts)))


def _is_title(column: str, guess: Guess) -> bool:
    """Return whether a column is a title: ``film_title``, or ``Article`` beside an ``ArticleNo``."""
    if guess.name is None:
        named = has_word(column, TITLES) or (names_id(column, ITEM) and not ends_like_id(column))
        return named and guess.why == UNIQUE
    return has_word(column, TITLES) and guess.name in ("text", "categories")


def _remarks(
    tables: Tables,
    given: Sequence[Table],
    roles: Roles,
    guesses: dict[str, dict[str, Guess]],
    *,
    predicts: bool,
) -> Iterator[str]:
    label = roles.label
    said = (
        f"no label ({roles.why})"
        if label is None
        else f"label '{label.column}' ({label.nature}, {label.why})"
    )
    when = f", timestamp '{roles.timestamp}'" if roles.timestamp else ""
    if roles.lost:
        yield f"dropped: {count_of(roles.lost, 'row')} without a user or an item"
    yield from roles.placeholders.values()
    yield f"{tables.interactions.name}: user '{tables.user}', item '{tables.item}', {said}{when}"
    if label is not None and label.positives:
        yield f"positives: {label.positives}"
    for column, why in roles.unread.items():
        yield f"column '{column}' is not read: {why}"
    for name, found in guesses.items():
        for column, guess in found.items():
            if guess.fault:
                yield f"{name}, column '{column}' is {guess.fault}"
            elif guess.name is None:
                yield f"{name}, column '{column}' is left out: {guess.why}"
    used = [tables.interactions, tables.users, tables.items, *tables.parts.values()]
    for table in given:
        if not any(table is one for one in used):
            yield (
                f"{table.name} is not used: it has no column with the ids of the users or items, one row "
                "per id"
            )
    if label is not None and not predicts:
        yield _how_to_predict(label.column)


def _kinds(table: Table | None, name: str, ids: str) -> dict[str, Guess]:
    if table is None:
        return {}
    return {
        column: guess_kind(
            table.frame[column], table=name, declared=table.declared.get(column), where=table.where(column)
        )
        for column in table.frame.columns
        if column != ids
    }
