"""`EventTable`: events of a store as a table of interactions, with the mark of what it has."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from twotower.config.schema import Schema
from twotower.core.atomic import check_file, replacing
from twotower.core.erasure import Erasures
from twotower.errors import BundleError, ConfigError, DataError
from twotower.recommender.trained_up_to import FACT, TrainedUpTo

SUFFIX: Final = ".parquet"
PLACE: Final = "store_place"
"""Column with the number of each event in its store."""
OTHER_STORE: Final = 2**63 - 1
"""That number of events of another store than the one whose deletions have places."""
_ERASURES: Final = "twotower_erased"
"""Key of the metadata that has the users that were deleted, by keyed hash."""
_ITEMS: Final = "twotower_items"
"""Key of the metadata that has the items that were added since training."""


@dataclass(frozen=True, eq=False)
class EventTable:
    """Interactions since training.

    Attributes:
        interactions: one row an interaction, with the columns of the model's schema, and the number of the
            event in its store, `PLACE`; null where it is not known, `OTHER_STORE` for events of earlier
            stores.
        mark: what it has.
        items: id and columns of the items that were added since training.
        notes: what was left out or filled in, in plain sentences.
        erasures: users that were deleted from the store; the data of a run may still have them.
    """

    interactions: pl.DataFrame
    mark: TrainedUpTo
    items: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    erasures: Erasures = field(default_factory=Erasures)

    def write(self, path: Path) -> None:
        """Write a Parquet file; the mark and the items are in its metadata.

        Raises:
            ConfigError: the name does not end in .parquet, or its folder can't be written to.
            BundleError: it can't be written (a full disk); an earlier file is unchanged.
        """
        check_event_file(path)
        metadata = {FACT: json.dumps(self.mark.state), _ITEMS: json.dumps(list(self.items))}
        metadata[_ERASURES] = json.dumps(self.erasures.state)
        with replacing(path) as temporary:
            self.interactions.write_parquet(temporary, metadata=metadata)

    @classmethod
    def read(cls, path: Path, schema: Schema) -> EventTable:
        """Read what `write` wrote, or another Parquet table with the columns of a schema, which has no mark.

        Raises:
            DataError: there is no such file, it is not a Parquet file, or a column is missing.
        """
        try:
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                "--events must be an event store, or a table that `twotower events export` wrote; "
                f"{path} can't be read: {reason}"
            ) from None
        found = pl.read_parquet_metadata(path)
        missing = [name for name in columns_of(schema) if name not in frame.columns]
        if missing:
            raise DataError(
                f"a table of events needs the columns {', '.join(columns_of(schema))}; {path} lacks "
                f"{', '.join(missing)}. Export it again with --run of this run"
            )
        try:
            mark = TrainedUpTo.of({FACT: json.loads(found[FACT])} if FACT in found else {})
            items = tuple(json.loads(found.get(_ITEMS, "[]")))
            gone = Erasures.of(json.loads(found[_ERASURES])) if _ERASURES in found else Erasures()
        except (ValueError, KeyError, TypeError, BundleError) as error:
            raise DataError(f"{path} has a damaged mark ({error}); export it again") from None
        place = pl.col(PLACE) if PLACE in frame.columns else pl.lit(None)
        rows = frame.select(*columns_of(schema), place.cast(pl.Int64).alias(PLACE))
        return cls(rows, mark, items, erasures=gone)

    def after(self, mark: TrainedUpTo) -> EventTable:
        """Return the events that another table with a mark lacks."""
        last = max((mark.stores.get(store, 0) for store in self.mark.stores), default=0)
        late = pl.col(PLACE).is_null() | (pl.col(PLACE) > last)
        return replace(self, interactions=self.interactions.filter(late))

    def joined(self, later: EventTable, user: str) -> EventTable:
        """Return the events of both; of an item that both have, the columns of the later one.

        Users whose deletion only the later one knows lose their events here. Places are those of the later
        one's store, if it has events: earlier events, of another store, get `OTHER_STORE`.

        Args:
            later: a later table.
            user: the column of users.
        """
        items = {str(item["item"]): item for item in (*self.items, *later.items)}
        rows, place = self.interactions, self.interactions.get_column(PLACE).fill_null(0)
        upto = pl.Series(later.erasures.lacking_in(self.erasures).places(rows.get_column(user)))
        same = later.erasures.store in ("", self.erasures.store)
        if not same and later.interactions.height:
            rows = rows.with_columns(pl.lit(OTHER_STORE).alias(PLACE))
        returned = (place > upto) & (place < OTHER_STORE) & same
        rows = pl.concat([rows.filter((upto < 0) | returned), later.interactions], how="vertical_relaxed")
        first = not same and later.interactions.is_empty()
        gone = later.erasures.joined(self.erasures) if first else self.erasures.joined(later.erasures)
        mark = self.mark.joined(later.mark)
        return EventTable(rows, mark, tuple(items.values()), self.notes + later.notes, gone)

    def without_erased(self, user: str) -> EventTable:
        """Return the table without what deleted users did before they were deleted.

        Args:
            user: the column of users.
        """
        if not self.erasures:
            return self
        upto = pl.Series(self.erasures.places(self.interactions.get_column(user)))
        place = self.interactions.get_column(PLACE).fill_null(0)
        return replace(self, interactions=self.interactions.filter(~((upto >= 0) & (place <= upto))))


def mark_in(path: str | Path) -> TrainedUpTo:
    """Return the mark of an exported table; an empty one of any other file."""
    try:
        found = pl.read_parquet_metadata(path)
        return TrainedUpTo.of({FACT: json.loads(found[FACT])} if FACT in found else {})
    except (OSError, ValueError, BundleError, pl.exceptions.PolarsError):
        return TrainedUpTo()


def check_event_file(path: Path) -> None:
    """Make sure that a table of events can be written.

    Raises:
        ConfigError: it can't.
    """
    if path.suffix.lower() != SUFFIX:
        raise ConfigError(f"--out must end in {SUFFIX}, which keeps what the table has, got '{path}'")
    check_file(path)


def columns_of(schema: Schema) -> list[str]:
    """Return the columns of a table of events: user, item, and where the schema names them label, time and
    weight."""
    named = [schema.user, schema.item, schema.label, schema.timestamp, schema.weight]
    return [name for name in dict.fromkeys(named) if name is not None]
