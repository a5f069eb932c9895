"""vector: a precomputed list of floats, standardised as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.saved import number, numbers
from twotower.core.wording import count_of
from twotower.errors import DataError
from twotower.features.blocks import Dense


@dataclass(frozen=True)
class VectorEncoder:
    """Fitted state of a vector column.

    Attributes:
        mean: float32 (width,) on the training set.
        scale: one standard deviation for all components, which preserves the vector's geometry.
    """

    mean: NDArray[np.float32]
    scale: float

    @classmethod
    def fit(cls, column: pl.Series) -> VectorEncoder:
        """Fit mean and scale on the rows of a training column that have a vector."""
        present = column.drop_nulls()
        if not len(present):
            raise DataError(
                f"vector column {column.name!r} is empty in every training row; remove it from the schema"
            )
        values = _matrix(present, len(present[0]))
        scale = float((values - values.mean(axis=0)).std())
        return cls(values.mean(axis=0), scale if scale > 1e-12 else 1.0)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width + 1): the standardised vector (zeros if missing) and a "missing" flag."""
        missing = column.is_null().to_numpy()
        block = np.zeros((len(column), len(self.mean) + 1), dtype=np.float32)
        if not missing.all():
            values = _matrix(column.drop_nulls(), len(self.mean))
            block[~missing, :-1] = (values - self.mean) / self.scale
        block[:, -1] = missing
        return Dense(block)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mean": self.mean.tolist(), "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> VectorEncoder:
        """Rebuild from the JSON form."""
        return cls(numbers(state, "mean").astype(np.float32), number(state, "scale", above=0.0))


def _matrix(column: pl.Series, width: int) -> NDArray[np.float32]:
    lengths = column.list.len()
    if (lengths != width).any():
        other = lengths.filter(lengths != width)[0]
        raise DataError(
            f"every vector of {column.name!r} must have {count_of(width, 'number')}, like the first one in "
            f"the training set; got one of {other}. Make all vectors the same length"
        )
    return column.explode().to_numpy().astype(np.float32).reshape(len(column), width)
