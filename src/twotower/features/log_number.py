"""log_number: a heavy-tailed quantity on a logarithmic scale."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from twotower.config.schema import Reading
from twotower.core.where import Found, Where
from twotower.data.parse import not_negative, parse_number
from twotower.features.numeric import F64, NumericKind


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
        return not_negative(numbers, where, "a log_number must be 0 or more")

    def prepared(self, values: F64) -> F64:
        """Return log(1 + x)."""
        return np.log1p(values)
