"""Features of users or items that are columns of the interactions: one row per id, from batch to batch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from twotower.data.merged import one_row_an_id
from twotower.errors import DataError


class Conflict(Exception):
    """A feature has two values for one id."""


class MergedFeatures:
    """Collects the features of the ids seen so far.

    Args:
        ids: the id column.
        columns: the features.
    """

    def __init__(self, ids: str, columns: Sequence[str]) -> None:
        self._ids, self._columns = ids, list(columns)
        self._known: pl.DataFrame | None = None

    def add(self, batch: pl.DataFrame) -> None:
        """Add those of a batch.

        Raises:
            Conflict: a feature has two values for one id.
        """
        rows = batch.select(self._ids, *self._columns).filter(pl.col(self._ids).is_not_null())
        try:
            new = one_row_an_id(rows, self._ids, self._columns, "")
            if self._known is not None:
                new = one_row_an_id(pl.concat([self._known, new]), self._ids, self._columns, "")
        except DataError as error:
            raise Conflict(str(error)) from None
        self._known = new

    def table(self) -> pl.DataFrame:
        """Return one row per id, ordered by id, as `twotower.data.merged.split_out` does."""
        assert self._known is not None
        return self._known.sort(self._ids)
