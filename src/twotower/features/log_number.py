"""log_number: a heavy-tailed quantity on a logarithmic scale."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from twotower.config.schema import Reading
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.where import Found, Where
from twotower.data.parse import UNKNOWN, parse_number
from twotower.features.numeric import F64, NumericKind, range_of

_TAIL = 20.0
"""How far a long tail goes: the 99% quantile is this many medians."""


class LogNumber(NumericKind):
    """A count or another non-negative, heavy-tailed quantity; read as log(1 + x)."""

    meaning = "quantity"

    decimal: Literal[".", ","] | None = None
    """The decimal mark; the other one can group thousands."""
    unit: str | None = None
    """The unit written with every number, such as ``"min"``, ``"%"`` or ``"$"``."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return Float64 of numbers that are 0 or more; see `parse_number`."""
        reading = Reading(decimal=self.decimal, unit=self.unit)
        numbers = parse_number(values, where, reading, found, what="a log_number")
        where.refuse(numbers < 0, numbers, "a log_number must be 0 or more", UNKNOWN)
        return numbers

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits counts and amounts with a long tail: the 99% quantile is far above the median."""
        x = facts.numbers
        if not len(x) or x.min() < 0 or len(np.unique(x)) <= 10:
            return None
        tail = float(np.quantile(x, 0.99)) > _TAIL * max(float(np.median(x)), 1e-12)
        return Fit(2, f"{range_of(x)}, with a long tail", facts.written) if tail else None

    def prepared(self, values: F64) -> F64:
        """Return log(1 + x)."""
        return np.log1p(values)
