"""Numbers, log-numbers and timestamps: a standardised value and a piecewise linear encoding.

The piecewise linear encoding (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022) splits the range at quantiles of the training set and gives, for each bin, the share
of it below the value, from 0 to 1. A small tower can then fit a non-linear function where the data is dense,
whatever the column's scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Kind
from twotower.core.saved import number, numbers
from twotower.features.blocks import Dense

BINS = 12
"""Maximum bins of the piecewise linear encoding; columns with fewer distinct values have fewer."""
DAY = 86_400.0
CLIP = 4.0
"""Standardised values are clipped to this many standard deviations, so that outliers can't dominate."""


@dataclass(frozen=True)
class NumericEncoder:
    """Fitted state of a number, log_number or timestamp column.

    Attributes:
        kind: one of the three.
        mean: mean of the (log-) values in the training set.
        scale: their standard deviation, or 1 if that is 0.
        edges: float64 (bins + 1,) increasing quantiles of the training set; length 1 for a constant column.
    """

    kind: Kind
    mean: float
    scale: float
    edges: NDArray[np.float64]

    @classmethod
    def fit(cls, column: pl.Series, kind: Kind) -> NumericEncoder:
        """Fit mean, scale and quantiles on a training column, ignoring nulls."""
        values = _prepared(column.drop_nulls(), kind)
        if not len(values):
            return cls(kind, 0.0, 1.0, np.zeros(1))
        scale = float(values.std())
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, BINS + 1)))
        return cls(kind, float(values.mean()), scale if scale > 1e-12 else 1.0, edges)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width): standardised value, bins, cycles of a timestamp, and a "missing" flag."""
        missing = column.is_null().to_numpy()
        values = _prepared(column.fill_null(0.0), self.kind)
        standard = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        parts = [standard[:, None]]
        if len(self.edges) > 2:
            low, high = self.edges[:-1], self.edges[1:]
            parts.append(np.clip((values[:, None] - low) / (high - low), 0.0, 1.0) - 0.5)
        if self.kind is Kind.TIMESTAMP:
            # hour of day and day of week carry information beyond the date itself
            angle = 2.0 * np.pi * np.stack([values % 1.0, (values / 7.0) % 1.0], axis=1)
            parts += [np.sin(angle), np.cos(angle)]
        block = np.concatenate(parts, axis=1)
        block[missing] = 0.0
        return Dense(np.concatenate([block, missing[:, None]], axis=1).astype(np.float32))

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mean": self.mean, "scale": self.scale, "edges": self.edges.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any], kind: Kind) -> NumericEncoder:
        """Rebuild from the JSON form."""
        edges = numbers(state, "edges")
        if not len(edges) or (np.diff(edges) <= 0).any():
            raise ValueError("'edges' must be increasing")
        return cls(kind, number(state, "mean"), number(state, "scale", above=0.0), edges)


def _prepared(column: pl.Series, kind: Kind) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pl.Float64).to_numpy()
    if kind is Kind.LOG_NUMBER:
        values = np.log1p(values)
    elif kind is Kind.TIMESTAMP:
        values = values / DAY
    return values
