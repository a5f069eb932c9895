"""`FeatureTable`: the users or the items, with their features as numbers and as groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from twotower.audit.statistics import Codes, Floats, quantile_codes, value_codes
from twotower.config.kinds import FeatureKind
from twotower.core.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The users table, or the items table.

    Attributes:
        name: ``users`` or ``items``.
        role: ``user`` or ``item``.
        ids: the id column.
        features: the kinds of the feature columns.
        table: n rows, in file order.
    """

    name: str
    role: str
    ids: str
    features: Mapping[str, FeatureKind]
    table: pl.DataFrame

    def rows_of(self, ids: pl.Series) -> Codes:
        """Return the row in the table of each of m ids, (m,); -1 if the id is not in it."""
        return Vocabulary(self.table.get_column(self.ids)).rows(ids)

    def quantities(self) -> dict[str, Floats]:
        """Return the features read as quantities, each (n,), nan where missing."""
        return {
            name: self.numbers(name) for name, kind in self.features.items() if kind.meaning == "quantity"
        }

    def ordered(self) -> dict[str, Floats]:
        """Return the features that have an order: quantities, times and integer codes, each (n,)."""
        return {
            name: self.numbers(name)
            for name in self.features
            if self.table.schema[name].is_numeric() or self.table.schema[name] == pl.Boolean
        }

    def numbers(self, name: str) -> Floats:
        """Return a numeric column, (n,), nan where missing."""
        values: Floats = self.table.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    def groups(self, name: str, bins: int = 16) -> Codes | None:
        """Return a feature as groups, (n,): values, quantiles of numbers, the first tag of a list.

        None for a kind without groups, such as text.
        """
        values = self.features[name].grouped(self.table.get_column(name))
        if values is None:
            return None
        if values.dtype.is_float():
            return quantile_codes(values.cast(pl.Float64).fill_null(np.nan).to_numpy(), bins)
        return value_codes(values)
