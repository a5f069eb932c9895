"""What the kinds of numbers share: a standardised value and a piecewise linear encoding.

The piecewise linear encoding (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022) splits the range at quantiles of the training set and gives, for each bin, the share
of it below the value, from 0 to 1. A small tower can then fit a non-linear function where the data is dense,
whatever the column's scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.core.blocks import Dense, Form
from twotower.core.saved import number, numbers
from twotower.core.wording import count_of

F64 = NDArray[np.float64]

BINS = 12
"""Maximum bins of the piecewise linear encoding; columns with fewer distinct values have fewer."""
CLIP = 4.0
"""Standardised values are clipped to this many standard deviations, so that outliers can't dominate."""


def range_of(values: F64) -> str:
    """Return what numbers, at least one, there are."""
    return f"{count_of(len(np.unique(values)), 'value')} from {values.min():g} to {values.max():g}"


class NumericKind(FeatureKind):
    """A kind whose checked column is Float64."""

    dtype = pl.Float64
    n_others: ClassVar[int] = 0
    """Width of all that `others` returns."""

    def prepared(self, values: F64) -> F64:
        """Return the values (n,) on the scale on which they are standardised and binned."""
        return values

    def others(self, values: F64) -> list[F64]:
        """Return further columns (n, width) of prepared values, beside the value and its bins."""
        return []

    def fit(self, column: pl.Series) -> NumericEncoder:
        """Fit mean, scale and quantiles, ignoring nulls."""
        values = self.prepared(_floats(column.drop_nulls()))
        if not len(values):
            return NumericEncoder(self, 0.0, 1.0, np.zeros(1))
        scale = float(values.std())
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, BINS + 1)))
        return NumericEncoder(self, float(values.mean()), scale if scale > 1e-12 else 1.0, edges)

    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> NumericEncoder:
        """Rebuild from the JSON form."""
        edges = numbers(state, "edges")
        if not len(edges) or (np.diff(edges) <= 0).any():
            raise ValueError("'edges' must be increasing")
        return NumericEncoder(self, number(state, "mean"), number(state, "scale", above=0.0), edges)

    def grouped(self, column: pl.Series) -> pl.Series:
        """Return the numbers."""
        return column


@dataclass(frozen=True)
class NumericEncoder(ColumnEncoder):
    """Fitted state of a column of numbers.

    Attributes:
        kind: its kind.
        mean: mean of the prepared values in the training set.
        scale: their standard deviation, or 1 if that is 0.
        edges: float64 (bins + 1,) increasing quantiles of the training set; length 1 for a constant column.
    """

    kind: NumericKind
    mean: float
    scale: float
    edges: F64

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Dense, 2 + (len(self.edges) > 2) * (len(self.edges) - 1) + self.kind.n_others)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width): standardised value, bins, what the kind adds, and a "missing" flag."""
        missing = column.is_null().to_numpy()
        values = self.kind.prepared(_floats(column.fill_null(0.0)))
        standard = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        parts = [standard[:, None]]
        if len(self.edges) > 2:
            low, high = self.edges[:-1], self.edges[1:]
            parts.append(np.clip((values[:, None] - low) / (high - low), 0.0, 1.0) - 0.5)
        block = np.concatenate(parts + self.kind.others(values), axis=1)
        block[missing] = 0.0
        return Dense(np.concatenate([block, missing[:, None]], axis=1).astype(np.float32))

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mean": self.mean, "scale": self.scale, "edges": self.edges.tolist()}


def _floats(column: pl.Series) -> F64:
    values: F64 = column.cast(pl.Float64).to_numpy()
    return values
