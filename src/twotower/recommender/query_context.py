"""`QueryContext`: the context in which queries are asked, as the user tower reads it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.core.reprs import named, shortened
from twotower.core.warn import warn
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.errors import DataError, nearest
from twotower.recommender.fitted_towers import FittedTowers, Unknown, unknown_values
from twotower.recommender.queries import Features
from twotower.towers import SideArrays

F64 = NDArray[np.float64]
SOURCE = "the context"


@dataclass(frozen=True)
class QueryContext:
    """Encodes the context of queries.

    The timestamp, if the model reads it, is when a query is asked; a column that is left out is missing.

    Attributes:
        towers: of the model.
    """

    towers: FittedTowers

    @property
    def timed(self) -> bool:
        """Whether the model reads when a query is asked, so that its vector changes with time."""
        schema = self.towers.encoder.schema
        return self.read and schema.timestamp in schema.context

    @property
    def read(self) -> bool:
        """Whether the model reads any context."""
        return self.towers.model.users.reads_context and bool(self.towers.encoder.context.columns)

    @property
    def columns(self) -> list[str]:
        """The columns that a query may give."""
        schema = self.towers.encoder.schema
        return [name for name in schema.context if name != schema.timestamp]

    def arrays(
        self, parts: Sequence[Features], at: F64 | None, n: int, unknown: Unknown | None = None
    ) -> SideArrays | None:
        """Return what the user tower reads of n queries, a row each; None if it reads nothing of them.

        Args:
            parts: what queries give, as tables; those in none give nothing.
            at: float64 (n,) seconds, when each is asked, nan for now; None for all now.
            n: how many queries.
            unknown: gets the values that the model doesn't know.

        Raises:
            DataError: a column that is not one of the context, or a value that is not of its kind.
        """
        tables = [self._table(part) for part in parts]
        if not self.read or not (parts or self.timed):
            return None
        places = [part.places for part in parts]
        rest = np.setdiff1d(np.arange(n), np.concatenate([np.empty(0, np.int64), *places]))
        if len(rest):
            tables.append(self._blank(len(rest)))
            places.append(rest)
        moments = np.full(n, np.nan) if at is None else at
        moments = np.where(np.isnan(moments), time.time(), moments)
        encoded, stamp = [], self.towers.encoder.schema.timestamp
        for given, own in zip(tables, places, strict=True):
            asked = self.timed and stamp not in given.columns
            table = given.with_columns(pl.Series(stamp, moments[own])) if asked else given
            side = self.towers.encoder.context.transform(table)
            unknown_values(side, table, unknown)
            encoded.append(SideArrays.pack(side, next(self.towers.model.parameters()).device))
        joined = SideArrays.joined(encoded)
        order = torch.from_numpy(np.argsort(np.concatenate(places)))
        return joined.take(order.to(joined.warm.device))

    def warn(self, parts: Sequence[Features], n: int, unknown: Unknown) -> None:
        """Warn of columns that queries leave out, of values not known, and of a context that is not read."""
        if parts and not self.read:
            warn(
                f"this model reads no context, as its towers are of kind {self.towers.model.config.kind!r}: "
                "what was given of it has no effect"
            )
        if not self.read or any(part.checked for part in parts):
            return
        given = Counter(name for part in parts for name in part.table.columns for _ in part.places)
        lacking = [f"{name} ({n - given[name]:,})" for name in self.columns if given[name] < n]
        if lacking:
            warn(
                f"{count_of(n, 'request')} {'leave' if n > 1 else 'leaves'} out columns of the context that "
                f"the model reads: {named(lacking)}; they count as missing; give Query(context={{...}})"
            )
        if unknown:
            shown = [f"{name} ({len(of):,}, such as {shortened(of[0])})" for name, of in unknown.items()]
            warn(
                f"values of the context are not known to the model: {named(shown)}; they all count as the "
                "same unknown value, so check how they are written"
            )

    def _table(self, part: Features) -> pl.DataFrame:
        """Return a part's columns as their kinds read them, what is left out as missing."""
        if part.checked:
            return part.table
        schema = self.towers.encoder.schema
        for name in part.table.columns:
            if name in self.columns:
                continue
            if name == schema.timestamp:
                raise DataError(f"when a query is asked is its 'at'; leave {name!r} out of the context")
            raise DataError(
                f"the context of a query has the columns of [schema.context] "
                f"({', '.join(self.columns) or 'none, as this model was trained without'}); got {name!r}."
                f"{nearest(name, self.columns)}"
            )
        if part.apart and any(
            part.table.schema[name] == pl.String and not schema.context[name].alone
            for name in part.table.columns
        ):
            rows = [self._read(row) for row in part.table.iter_slices(1)]
            return pl.concat(rows, how="vertical_relaxed")
        return self._read(part.table) if part.table.width else self._blank(len(part.places))

    def _read(self, table: pl.DataFrame) -> pl.DataFrame:
        kinds, n = self.towers.encoder.schema.context, table.height
        return pl.DataFrame(
            [
                kinds[name].of_new_rows().read(table.get_column(name), Where(SOURCE, name), Found())
                if name in table.columns
                else pl.Series(name, [None] * n, dtype=kinds[name].dtype)
                for name in self.columns
            ]
        )

    def _blank(self, n: int) -> pl.DataFrame:
        kinds = self.towers.encoder.schema.context
        return pl.DataFrame([pl.Series(name, [None] * n, dtype=kinds[name].dtype) for name in self.columns])
