"""`ValueCodes`: values to codes, frozen after fitting; unknown values share one code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.vocabulary import Vocabulary

UNKNOWN = 0
"""Code of a value that is not in the training set, or too rare in it."""
MISSING = 1
"""Code of an empty value."""
RESERVED = 2
"""Number of codes before the first value."""
LEAST, MOST, ROWS_A_COUNT = 2, 5, 100
"""Minimum training rows of a known value: one per this many rows of the column, within these bounds."""


def min_count(rows: int) -> int:
    """Return the minimum training rows of a value, for a column of ``rows`` rows; rarer values are "unknown".

    A value that occurs once is no different from that row's id, and one that occurs a few times does not
    generalise. Rare values share the "unknown" embedding, which is thereby trained. In a small table the
    minimum is low.
    """
    return min(max(rows // ROWS_A_COUNT, LEAST), MOST)


@dataclass(frozen=True, eq=False, repr=False)
class ValueCodes(Vocabulary):
    """A frozen map from values to codes 2, 3, ...; 0 is "unknown" and 1 is "missing".

    Attributes:
        ids: the known values, sorted, without nulls, as an integer or string series.
    """

    lasting: ClassVar[bool] = True

    @classmethod
    def fit(cls, column: pl.Series, min_count: int = 1) -> ValueCodes:
        """Fit the values that occur at least ``min_count`` times in ``column``."""
        counts = column.drop_nulls().alias("value").value_counts(name="count")
        kept = counts.filter(pl.col("count") >= min_count).get_column("value").sort()
        return cls(kept)

    @property
    def size(self) -> int:
        """Number of codes, including "unknown" and "missing"."""
        return len(self) + RESERVED

    def encode(self, column: pl.Series) -> NDArray[np.int32]:
        """Return the codes of a column, int32 (rows,)."""
        rows = self.rows(column)
        codes = np.where(rows < 0, UNKNOWN, rows + RESERVED).astype(np.int32)
        codes[column.is_null().to_numpy()] = MISSING  # a value of another type is unknown, not missing
        return codes

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "int" if self.whole else "str", "values": self.ids.to_list()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ValueCodes:
        """Rebuild from the JSON form."""
        kinds: dict[str, tuple[type, Any]] = {"int": (int, pl.Int64), "str": (str, pl.String)}
        kind, dtype = kinds[state["type"]]
        if not isinstance(state["values"], list) or not all(type(value) is kind for value in state["values"]):
            raise ValueError(f"the values of a vocabulary must be of the type {state['type']}")
        values = pl.Series("value", state["values"], dtype=dtype)
        if values.n_unique() != len(values):
            raise ValueError("the values of a vocabulary must be distinct")
        return cls(values)
