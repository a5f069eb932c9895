"""Publishing: a new version is written beside the earlier ones, and served once it is complete."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from twotower.errors import ConfigError, DataError, TwoTowerError
from twotower.retrieval.databases.database import Items, VectorDatabase, Version
from twotower.retrieval.registry import INDEXES

_TIME = "%Y%m%d%H%M%S"
KEEP = 2
"""Versions kept by default: one that is served while the next is loaded."""


@dataclass(frozen=True)
class Publication:
    """What was published.

    Attributes:
        address: where, without secrets.
        version: the first 12 digits of the bundle's hash.
        collection: the one that has this version alone.
        items: number of items.
        columns: names of columns by those of the fields that have them.
        left_out: why columns were left out, by name.
        parameters: of the search structure.
        written: whether it was written now; otherwise it was complete already.
        seconds: that writing and indexing took.
        previous: the version that was current before; None for the first.
        removed: collections of earlier versions, and of publications that failed.
    """

    address: str
    version: str
    collection: str
    items: int
    columns: dict[str, str]
    left_out: dict[str, str]
    parameters: dict[str, int]
    written: bool
    seconds: float
    previous: str | None
    removed: tuple[str, ...]


def publish_items(
    database: VectorDatabase,
    items: Items,
    version: str,
    *,
    keep: int = KEEP,
    parameters: Mapping[str, int] | None = None,
    told: Callable[[int], None] = lambda done: None,
) -> Publication:
    """Publish a version of a catalogue and make it the current one.

    A version that is complete already, with the same parameters, is not written again.

    Args:
        database: where to.
        items: what.
        version: 12 hexadecimal digits.
        keep: versions that stay, this one among them.
        parameters: of the search structure; those left out are chosen.
        told: called with the number of items written so far.

    Raises:
        ConfigError: ``keep`` is below 1, or an unknown parameter or one of searching.
        DataError: a vector is not finite.
        IndexUnavailable: the database does not answer; the current version is unchanged.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise ConfigError(f"keep must be a whole number of at least 1, got {keep!r}")
    finite = np.isfinite(items.vectors).all(axis=1)
    if not finite.all():
        raise DataError(f"item vectors must be finite; {np.count_nonzero(~finite):,} are not; train again")
    kind = INDEXES[database.scheme]
    asked = dict(parameters or {})
    built = kind.built_with(asked, len(items.vectors))  # type: ignore[attr-defined]
    start = time.monotonic()
    versions = database.versions()
    previous = next((one.version for one in versions if one.current), None)
    same = [one for one in versions if one.complete and one.version == version]
    if same and (not asked or database.built(same[-1].collection) == built):
        new, written = same[-1], False
        built = database.built(new.collection)
    else:
        last = versions[-1].time if versions else None
        new, written = _written(database, items, version, built, last, told), True
    database.switch(new)
    seconds = time.monotonic() - start
    removed = _outdated(database.versions(), new, keep)
    for collection in removed:
        database.remove(collection)
    return Publication(
        str(database.address),
        version,
        new.collection,
        len(items.vectors),
        {column.field: column.name for column in items.columns},
        dict(items.columns.left_out),
        built,
        written,
        seconds,
        previous,
        removed,
    )


def _written(
    database: VectorDatabase,
    items: Items,
    version: str,
    parameters: Mapping[str, int],
    last: str | None,
    told: Callable[[int], None],
) -> Version:
    now = datetime.now(UTC)
    if last is not None:  # after the last one, also within a second and with a clock that is behind
        now = max(now, datetime.strptime(last, _TIME).replace(tzinfo=UTC) + timedelta(seconds=1))
    text = now.strftime(_TIME)
    new = Version(text, version, f"{database.address.collection}_{text}_{version}")
    try:
        database.fill(new.collection, items, parameters, told)
    except BaseException:  # also Ctrl-C: nothing half written stays
        with contextlib.suppress(TwoTowerError):
            database.remove(new.collection)
        raise
    database.complete(new)
    return new


def _outdated(versions: list[Version], current: Version, keep: int) -> tuple[str, ...]:
    """Return the collections to remove: all but the last ``keep`` complete versions and the current one.

    Incomplete ones that are older than the current one were given up; newer ones are being written.
    """
    others = [one for one in versions if one.collection != current.collection]
    complete = [one for one in others if one.complete]
    kept = {one.collection for one in complete[max(0, len(complete) - (keep - 1)) :]}
    return tuple(
        one.collection
        for one in others
        if one.collection not in kept and (one.complete or one.time < current.time)
    )
