"""`EncodedTable`: all users or all items of a training set as arrays, encoded once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from twotower.core.vocabulary import Vocabulary, rows_of_ids
from twotower.data.dataset import Dataset
from twotower.features.encoder import SideEncoder
from twotower.towers.arrays import SideArrays


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """All users or all items of a training set; training, validation and the finished model take their rows.

    Attributes:
        encoder: fitted on the training set.
        given: the table of the training set.
        table: the same, and a row of missing features for each id that only the interactions have.
        ids: of the rows of ``table``.
        arrays: the encoded rows.
    """

    encoder: SideEncoder
    given: pl.DataFrame
    table: pl.DataFrame
    ids: Vocabulary
    arrays: SideArrays

    @classmethod
    def of(cls, encoder: SideEncoder, train: Dataset, device: torch.device) -> EncodedTable:
        """Encode the table of users or of items, whichever the encoder is for."""
        column = encoder.column
        user = column == train.schema.user
        given, events = train.users if user else train.items, train.ids("user" if user else "item")
        lacking = events.filter(~events.is_in(given.get_column(column).implode()))
        table = given
        if len(lacking):
            table = pl.concat([given, lacking.cast(given.schema[column]).to_frame()], how="diagonal")
        arrays = SideArrays.pack(encoder.transform(table), device)
        return cls(encoder, given, table, Vocabulary(table.get_column(column)), arrays)

    def take(self, ids: pl.Series, table: pl.DataFrame | None = None) -> SideArrays:
        """Return the arrays of some ids, in their order.

        Args:
            ids: any number of ids.
            table: where their features are; None for the training set's table. Nothing is encoded again,
                unless this is another table or lacks an id.
        """
        rows = self.ids.rows(ids)
        device = self.arrays.warm.device
        at = torch.from_numpy(rows).to(device)
        table = self.given if table is None else table
        if table is not self.given or (rows < 0).any():
            encoded = self.encoder.transform(rows_of_ids(table, self.encoder.column, ids))
            packed, history, known = (
                SideArrays.pack(encoded, device),
                self.arrays.history,
                self.arrays.statistics,
            )
            if known is not None:
                packed = replace(packed, statistics=known[at] * (at >= 0)[:, None])
            return packed if history is None else replace(packed, history=history.take(at))
        if np.array_equal(rows, np.arange(self.arrays.rows)):
            return self.arrays
        return self.arrays.take(at)
