"""category: one value of a set, as an embedding row; so are unknown and missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.core.blocks import Codes, Form
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.parse import plain, whole_numbers, within_int64
from twotower.features.value_codes import ValueCodes, min_count


class Category(FeatureKind):
    """A code or string from a set of values; never read as a quantity."""

    dtype = pl.String
    meaning = "tags"
    alone = True

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return Int64 (integers, whole floats, booleans) or String; an empty string is missing.

        Raises:
            DataError: a float has a fraction, or the column contains lists.
        """
        rule = "a category must be an integer code or a string"
        values = plain(values)
        dtype = values.dtype
        if dtype == pl.String:
            empty = values.str.strip_chars() == ""
            return values.set(empty, None) if empty.any() else values
        if dtype in (pl.Boolean, pl.Null):
            return values.cast(pl.Int64 if dtype == pl.Boolean else pl.String)
        if dtype.is_integer():
            return within_int64(values, where, rule)
        if dtype.is_float() or dtype.is_decimal():
            return whole_numbers(values, where, rule, "Declare the column as 'number', or cast it to strings")
        if dtype.is_temporal():
            return values.cast(pl.String)
        raise where.wrong_type(rule, values, "Declare a column of lists as 'categories'")

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits flags and codes; and strings that repeat, if no other kind does."""
        if facts.coded:
            return Fit(4, facts.coded)
        repeating = facts.texts is not None and not facts.unique
        return Fit(0.1, count_of(facts.known.n_unique(), "value")) if repeating else None

    def fit(self, column: pl.Series) -> CategoryEncoder:
        """Fit the values that are frequent enough."""
        return CategoryEncoder(ValueCodes.fit(column, min_count(len(column))))

    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> CategoryEncoder:
        """Rebuild from the JSON form."""
        return CategoryEncoder(ValueCodes.from_state(state))

    def grouped(self, column: pl.Series) -> pl.Series:
        """Return the values."""
        return column


@dataclass(frozen=True)
class CategoryEncoder(ColumnEncoder):
    """Fitted state of a category column."""

    codes: ValueCodes

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Codes, self.codes.size)

    def transform(self, column: pl.Series) -> Codes:
        """Return one code per row."""
        return Codes(self.codes.encode(column), self.codes.size)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.codes.state()
