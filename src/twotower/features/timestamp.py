"""timestamp: a moment, with its hour of the day and its day of the week."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
import polars as pl
from pydantic import Field

from twotower.config.schema import Reading
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.where import Found, Where
from twotower.data.parse import parse_timestamp
from twotower.features.numeric import F64, NumericKind

DAY = 86_400.0


class Timestamp(NumericKind):
    """A date, a datetime, or a number of seconds, milliseconds, ... since 1970-01-01 UTC."""

    meaning = "time"
    n_others = 4

    format: Annotated[str, Field(min_length=1)] | None = None
    """Format of times: ``s``, ``ms``, ``us`` or ``ns`` since 1970, or a pattern such as ``%d.%m.%Y``."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return Float64 seconds since 1970-01-01 UTC; see `parse_timestamp`."""
        return parse_timestamp(values, where, Reading(format=self.format), found)

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits times."""
        return Fit(3, facts.times) if facts.times else None

    def of_new_rows(self) -> Self:
        """Return the kind with seconds by default: the unit can't be guessed from one new row."""
        return self.filled({"format": "number"})

    def prepared(self, values: F64) -> F64:
        """Return days."""
        return values / DAY

    def others(self, values: F64) -> list[F64]:
        """Return sines, then cosines, of the time of day and of the week: (n, 2) each."""
        # hour of day and day of week carry information beyond the date itself
        angle = 2.0 * np.pi * np.stack([values % 1.0, (values / 7.0) % 1.0], axis=1)
        return [np.sin(angle), np.cos(angle)]
