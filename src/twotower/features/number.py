"""number: a quantity on a linear scale."""

from __future__ import annotations

from typing import Literal

import polars as pl

from twotower.config.schema import Reading
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.where import Found, Where
from twotower.data.parse import parse_number
from twotower.features.numeric import NumericKind, range_of


class Number(NumericKind):
    """A quantity on a linear scale."""

    meaning = "quantity"

    decimal: Literal[".", ","] | None = None
    """The decimal mark; the other one can group thousands."""
    unit: str | None = None
    """The unit written with every number, such as ``"min"``, ``"%"`` or ``"$"``."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return Float64; see `parse_number`."""
        return parse_number(values, where, Reading(decimal=self.decimal, unit=self.unit), found)

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits all numbers, if no other kind does."""
        return Fit(1, range_of(facts.numbers), facts.written) if len(facts.numbers) else None
