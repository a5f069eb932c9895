"""Interactions from batches of a table to the spill: checked like those of a `Dataset`, ids become rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from twotower.config.schema import Schema
from twotower.core.where import AmbiguousError, Found, Where
from twotower.data.checks import check_interactions
from twotower.data.grouped import columns_of
from twotower.data.splits.column import SETS, Column
from twotower.data.store.growing import GrowingVocabulary, TypesDiffer
from twotower.data.store.merged import Conflict, MergedFeatures
from twotower.data.store.spill import TEST, TRAIN, VALIDATION, Spill
from twotower.data.store.writing import fitting
from twotower.data.streaming.source import Batch
from twotower.errors import DataError

CODES: Final = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""Set -> its code in a spill."""
_ROW: Final = "_row of the batch"


class Unsettled(Exception):
    """How a table is read can't be settled batch by batch: only from all its values together."""


@dataclass
class Ingest:
    """Writes the interactions of one or several tables to a spill.

    Attributes:
        spill: where they are written.
        schema: of all tables.
        column: the split method that reads the set of each row from a column, if that is the method.
        wide: whether labels and weights are float64, for values that are still to be computed.
        features: for ``users`` and ``items``, the columns of the interactions that are features of them.
        users, items: the ids so far.
        marks: distinct values of the column of the sets.
    """

    spill: Spill
    schema: Schema
    column: Column | None = None
    wide: bool = False
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    users: GrowingVocabulary = field(default_factory=GrowingVocabulary)
    items: GrowingVocabulary = field(default_factory=GrowingVocabulary)
    marks: pl.Series | None = None

    def read(
        self, batches: Iterable[Batch], source: str, part: int = TRAIN
    ) -> tuple[Found, dict[str, pl.DataFrame]]:
        """Check and write the rows of a table; return what was found out, and the tables of features.

        Args:
            batches: of the table.
            source: its name, for notes.
            part: the set of the rows, unless a column says it.

        Raises:
            DataError: as `check_interactions`; the message names the file and its row.
            Unsettled: batches would be read in different ways.
        """
        found, before = Found(), self.spill.rows
        ids = {"users": self.schema.user, "items": self.schema.item}
        features = {side: MergedFeatures(ids[side], of) for side, of in self.features.items()}
        known: dict[str, dict[str, str]] | None = None
        for batch in batches:
            of_batch = Found()
            try:
                for of in features.values():
                    of.add(batch.frame)
                rows = batch.frame.drop(self._gone).with_row_index(_ROW)
                frame = check_interactions(rows, self.schema, batch.file, of_batch, batch.first, part=True)
            except (AmbiguousError, Conflict) as error:
                raise Unsettled(str(error)) from None
            if known is not None and of_batch.settings != known:
                both = [*known, *of_batch.settings]
                name = next(one for one in both if known.get(one) != of_batch.settings.get(one))
                raise Unsettled(f"column '{name}' is not written alike in all batches of {source}")
            known = of_batch.settings
            found.settings = known
            found.merge(of_batch, source)
            self._write(frame, batch, part)
        if self.spill.rows == before:
            raise DataError(
                f"interactions need at least one row, and {source} has none"
                + ("" if known is None else " with the ids of a user and an item")
                + ". Check the file or the filter."
            )
        return found, {side: of.table() for side, of in features.items()}

    @property
    def _gone(self) -> set[str]:
        """The columns of the interactions that are only features."""
        features = {name for of in self.features.values() for name in of}
        return features - {*self.schema.interaction_columns(), self.schema.duration or ""}

    def _write(self, frame: pl.DataFrame, batch: Batch, part: int) -> None:
        try:
            columns = {
                "user": self.users.rows(frame.get_column(self.schema.user)),
                "item": self.items.rows(frame.get_column(self.schema.item)),
            }
        except TypesDiffer as error:
            raise Unsettled(f"ids have several types ({error})") from None
        for role, name in columns_of(self.schema).items():
            if name in frame.columns:
                values = frame.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
                fixed = self.wide and role in ("label", "weight")
                columns[role] = values.astype(np.float64 if fixed else fitting(role, values))
        sets = np.full(frame.height, part, dtype=np.uint8)
        if self.column is not None:
            said = frame.get_column(self.column.column)
            rows = frame.get_column(_ROW) if frame.height < batch.frame.height else None
            marked = self.column.marked(said, Where(batch.file, self.column.column, rows, batch.first))
            for name in SETS:
                sets[(marked == name).to_numpy()] = CODES[name]
            so_far = said.unique(maintain_order=True)
            self.marks = so_far if self.marks is None else pl.concat([self.marks, so_far])
            self.marks = self.marks.unique(maintain_order=True)
        self.spill.append(sets, columns)
