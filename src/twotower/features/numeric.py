"""Numbers, logarithmic numbers and timestamps: a standardised value beside a piecewise linear encoding.

The piecewise linear encoding (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022) cuts the range at train quantiles and gives, for each bin, how far the value has
passed through it, from 0 to 1. It lets a small tower bend at the places where the data lies, whatever the
column's scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.features.blocks import Dense
from twotower.features.saved import number, numbers
from twotower.schema import Kind

BINS = 12
"""Most bins of the piecewise linear encoding; columns with fewer distinct values have fewer."""
DAY = 86_400.0
CLIP = 4.0
"""Standardised values are held within this many standard deviations: no wild value can dominate."""


@dataclass(frozen=True)
class NumericEncoder:
    """Fitted state of one number, log_number or timestamp column.

    Attributes:
        kind: one of the three.
        mean: of the (log-) values on train.
        scale: their standard deviation, 1 where it is 0.
        edges: float64 (bins + 1,) rising train quantiles; may be of length 1 for a constant column.
    """

    kind: Kind
    mean: float
    scale: float
    edges: NDArray[np.float64]

    @classmethod
    def fit(cls, column: pl.Series, kind: Kind) -> NumericEncoder:
        """Learn mean, scale and quantiles from a train column (nulls are left out)."""
        values = _prepared(column.drop_nulls(), kind)
        if not len(values):
            return cls(kind, 0.0, 1.0, np.zeros(1))
        scale = float(values.std())
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, BINS + 1)))
        return cls(kind, float(values.mean()), scale if scale > 1e-12 else 1.0, edges)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width): standardised value, bins, cycles of a timestamp, and a flag for "missing"."""
        missing = column.is_null().to_numpy()
        values = _prepared(column.fill_null(0.0), self.kind)
        standard = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        parts = [standard[:, None]]
        if len(self.edges) > 2:
            low, high = self.edges[:-1], self.edges[1:]
            parts.append(np.clip((values[:, None] - low) / (high - low), 0.0, 1.0) - 0.5)
        if self.kind is Kind.TIMESTAMP:
            # hour of day and day of week have meaning beside the date itself
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
            raise ValueError("'edges' must rise")
        return cls(kind, number(state, "mean"), number(state, "scale", above=0.0), edges)


def _prepared(column: pl.Series, kind: Kind) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pl.Float64).to_numpy()
    if kind is Kind.LOG_NUMBER:
        values = np.log1p(values)
    elif kind is Kind.TIMESTAMP:
        values = values / DAY
    return values
