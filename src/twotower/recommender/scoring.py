"""Scores or predictions of pairs of known users and items, as a table."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.errors import DataError, TwoTowerWarning, nearest
from twotower.kernels.scoring import score_pairs
from twotower.recommender.side import Side
from twotower.targets.target import Target


@dataclass(frozen=True)
class Scoring:
    """Scores pairs of known users and items.

    Attributes:
        schema: of the data.
        users: every user known.
        items: the catalogue.
        target: how scores become labels in their own units.
        item_duration: float64 (items,), used if the pairs have no duration column.
        ranks: whether the model ranks, and so predicts no label.
    """

    schema: Schema
    users: Side
    items: Side
    target: Target
    item_duration: NDArray[np.float64] | None
    ranks: bool

    @property
    def column(self) -> str:
        """Name of the added column; with ``model_`` before it if an id column has that name."""
        name = "score" if self.ranks else "prediction"
        return f"model_{name}" if name in (self.schema.user, self.schema.item) else name

    def table(self, pairs: pl.DataFrame, *, strict: bool) -> pl.DataFrame:
        """Return the pairs with the column added; see `Recommender.score`."""
        check_process()
        schema = self.schema
        for column in (schema.user, schema.item):
            if column not in pairs.columns:
                raise DataError(
                    f"pairs need a column {column!r}; got {', '.join(pairs.columns)}."
                    f"{nearest(column, pairs.columns)}"
                )
        if self.column in pairs.columns:
            raise DataError(
                f"pairs must not have a column {self.column!r}, which score adds; drop it or rename it"
            )
        rows = {}
        for side, column, what in ((self.users, schema.user, "user"), (self.items, schema.item, "item")):
            ids = pairs.get_column(column)
            rows[what] = side.known(ids, what) if strict else side.rows(ids)
        known = (rows["user"] >= 0) & (rows["item"] >= 0)
        if not known.all():
            unknown = {what: int((of < 0).sum()) for what, of in rows.items()}
            warnings.warn(
                f"{int((~known).sum()):,} of {len(known):,} pairs have no {self.column}: the user of "
                f"{unknown['user']:,} and the item of {unknown['item']:,} are not known",
                TwoTowerWarning,
                stacklevel=4,
            )
        user, item = rows["user"][known], rows["item"][known]
        scores = score_pairs(self.users.vectors, self.items.vectors, user, item)
        duration = self._durations(pairs.filter(pl.Series(known, dtype=pl.Boolean)), item)
        values = np.full(len(known), np.nan)
        values[known] = self.target.inverse(scores, duration)
        # null for unknown ids; nan is a value that is undefined
        given = pl.Series(self.column, values).zip_with(
            pl.Series(known, dtype=pl.Boolean), pl.Series([None], dtype=pl.Float64)
        )
        return pairs.with_columns(given)

    def _durations(self, pairs: pl.DataFrame, item: NDArray[np.int64]) -> NDArray[np.float64] | None:
        if not self.target.transform.needs_duration:
            return None
        duration = self.schema.duration
        if duration is not None and duration in pairs.columns:
            return pairs.get_column(duration).cast(pl.Float64).fill_null(np.nan).to_numpy()
        if self.item_duration is not None:
            return self.item_duration[item]
        raise DataError(f"pairs need the column {duration!r}: the label was debiased by it")
