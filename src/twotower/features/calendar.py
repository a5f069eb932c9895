"""calendar: the hour of the day and the day of the week of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.config.schema import Reading
from twotower.core.blocks import Bag, Form
from twotower.core.saved import numbers
from twotower.core.where import Found, Where
from twotower.data.parse import parse_timestamp
from twotower.features.value_codes import MISSING, RESERVED, UNKNOWN

HOURS, WEEKDAYS = 24, 7
SIZE = RESERVED + HOURS + WEEKDAYS
HOUR, DAY = 3600.0, 86_400.0
THURSDAY = 3
"""Day of the week of 1970-01-01, Monday being 0."""


class Calendar(FeatureKind):
    """The hour of the day and the day of the week (UTC) of a time, and nothing else of it: what recurs."""

    dtype = pl.Float64
    meaning = "time"

    format: Annotated[str, Field(min_length=1)] | None = None
    """Format of times: ``s``, ``ms``, ``us`` or ``ns`` since 1970, or a pattern such as ``%d.%m.%Y``."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return Float64 seconds since 1970-01-01 UTC; see `parse_timestamp`."""
        return parse_timestamp(values, where, Reading(format=self.format), found)

    def of_new_rows(self) -> Self:
        """Return the kind with seconds by default: the unit can't be guessed from one new row."""
        return self.filled({"format": "number"})

    def fit(self, column: pl.Series) -> CalendarEncoder:
        """Fit the hours and the days of the week that occur; others are unknown."""
        return CalendarEncoder(np.unique(_places(column.drop_nulls())))

    def restore(self, state: dict[str, Any], arrays: dict[str, Any]) -> CalendarEncoder:
        """Rebuild from the JSON form."""
        known = numbers(state, "known")
        if (np.diff(known) <= 0).any() or not np.isin(known, np.arange(HOURS + WEEKDAYS)).all():
            raise ValueError(f"'known' must be increasing whole numbers below {HOURS + WEEKDAYS}")
        return CalendarEncoder(known.astype(np.int64))


@dataclass(frozen=True, eq=False)
class CalendarEncoder(ColumnEncoder):
    """Fitted state of a column of times.

    Attributes:
        known: int64 (k,) the hours of the training set, then 24 + its days of the week, Monday being 0.
    """

    known: NDArray[np.int64]

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Bag, SIZE)

    def transform(self, column: pl.Series) -> Bag:
        """Return two codes a row, one for a missing time."""
        missing = column.is_null().to_numpy()
        places = _places(column.fill_null(0.0))
        codes = np.where(np.isin(places, self.known), RESERVED + places, UNKNOWN)
        codes[missing, 0] = MISSING
        kept = np.ones(codes.shape, np.bool_)
        kept[missing, 1] = False
        indptr = np.append(0, np.cumsum(kept.sum(axis=1)))
        return Bag(indptr.astype(np.int64), codes[kept].astype(np.int32), SIZE)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"known": self.known.tolist()}


def _places(column: pl.Series) -> NDArray[np.int64]:
    """Return the hour, and 24 + the day of the week, of each time, (n, 2)."""
    seconds = column.cast(pl.Float64).to_numpy()
    hour = np.floor(seconds % DAY / HOUR).clip(0, HOURS - 1)
    weekday = (np.floor(seconds / DAY) + THURSDAY) % WEEKDAYS
    return np.stack([hour, HOURS + weekday], axis=1).astype(np.int64)
