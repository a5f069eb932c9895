"""From a config to the training, validation and test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twotower.config import Config
from twotower.data.later import with_later
from twotower.data.splitting import Parts
from twotower.datasets.configured import cut, read_raw
from twotower.datasets.stored import load_stored
from twotower.errors import DataError
from twotower.estimator.setup import check_varied
from twotower.targets.positive import PositiveRule
from twotower.workflows.event_table import EventTable
from twotower.workflows.own_events import checked
from twotower.workflows.stages import Log, Stages, quiet


def load_parts(config: Config, *, stages: Stages | None = None, log: Log = quiet) -> Parts:
    """Read the tables that a config names, drop duplicates, and split.

    Args:
        config: with paths relative to the working directory, or absolute.
        stages: records the seconds of "read" and "split".
        log: called with the sizes of the sets, every note of reading and splitting, and where the store is.

    Raises:
        ConfigError, DataError: a table or a setting is wrong; the message says how to fix it.
        BundleError: the store can't be written.
    """
    stages, notes = stages or Stages(), tuple[str, ...]()
    with stages("read"):
        bare = config.model_copy(update={"data": config.data.model_copy(update={"events": None})})
        parts = load_stored(bare, log)
        raw = read_raw(config) if parts is None else {}
    with stages("split"):
        parts = cut(config, raw) if parts is None else parts
        if config.data.events is not None:
            later = checked(EventTable.read(Path(config.data.events), parts.train.schema), parts.train)
            later, notes = later.without_erased(parts.train.schema.user), later.notes
            parts = with_later(parts, later.interactions, later.items, later.erasures)
    for note in (*notes, *notes_of(parts)):
        log(f"note: {note}")
    sizes = ", ".join(f"{name} {rows:,}" for name, rows in sizes_of(parts).items())
    log(f"rows: {sizes}; {parts.train.users.height:,} users, {parts.train.items.height:,} items")
    return parts


def check_positives(config: Config, parts: Parts) -> PositiveRule:
    """Check before training that there is something to learn; return the rule for positives.

    Raises:
        DataError: for ranking, a set has no positives (the message describes its labels); for prediction,
            all training labels are equal.
    """
    rule = PositiveRule.fit(parts.train, config.positive)
    if not config.objective.implicit:
        check_varied(parts.train)
        return rule
    for name, part in (("training", parts.train), ("validation", parts.validation), ("test", parts.test)):
        try:
            if not rule.some_positive(part):
                rule.select(part)
        except DataError as error:
            raise DataError(f"{name} set: {error}") from None
    return rule


def notes_of(parts: Parts) -> list[str]:
    """Return the notes of reading and splitting, each once."""
    return list(dict.fromkeys(parts.train.notes + parts.validation.notes + parts.test.notes))


def sizes_of(parts: Parts) -> dict[str, int]:
    """Return the number of interactions in each set."""
    return {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}


def facts_of(parts: Parts) -> dict[str, Any]:
    """Return for JSON the rows of each set, the number of users and items, and the notes."""
    train = parts.train
    return {
        "rows": sizes_of(parts),
        "users": train.users.height,
        "items": train.items.height,
        "notes": notes_of(parts),
    }
