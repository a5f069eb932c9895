"""`DurationRank`: the rank of a label among the labels of items of similar duration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.core.reprs import ShortRepr
from twotower.core.saved import numbers
from twotower.errors import ConfigError, DataError
from twotower.targets.labels import F64, LabelTransform


@dataclass(frozen=True, repr=False)
class DurationRank(ShortRepr, LabelTransform):
    """The rank of a label among training labels of similar duration, in [0, 1] (D2Q, Zhan et al., KDD 2022).

    Within a bucket of similar durations, play time and watch ratio have (almost) the same order, so the rank
    measures how much a user liked an item regardless of its length. The inverse is the bucket's quantile
    function on the training set.

    Attributes:
        edges: (buckets - 1,) inner edges of the duration buckets.
        quantiles: (buckets, points) training labels at evenly spaced ranks, for each bucket; rows without a
            duration use the last bucket, which contains the whole training set.
    """

    edges: F64
    quantiles: F64
    name: ClassVar[str] = "duration_rank"
    needs_duration: ClassVar[bool] = True
    tames_outliers: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        label: F64,
        duration: F64 | None = None,
        *,
        cap: float | None = None,
        buckets: int = 30,
        points: int = 201,
    ) -> DurationRank:
        """Fit buckets of equal row counts and the label quantiles of each."""
        if duration is None:
            raise ConfigError(
                "transform 'duration_rank' needs the items' duration; set schema.duration to its column"
            )
        known = np.isfinite(duration)
        if not known.any():
            raise DataError(
                "the duration_rank transform needs durations, but every duration in the training set is "
                "missing"
            )
        edges = np.unique(np.quantile(duration[known], np.linspace(0, 1, buckets + 1)[1:-1]))
        bucket = np.where(known, np.searchsorted(edges, duration, side="right"), -1)
        ranks = np.linspace(0.0, 1.0, points)
        everyone = np.quantile(label, ranks)
        rows = [
            np.quantile(label[bucket == b], ranks) if (bucket == b).any() else everyone
            for b in range(len(edges) + 1)
        ]
        return cls(edges, np.stack([*rows, everyone]))

    @classmethod
    def of_all(cls, quantiles: Callable[[F64], F64], points: int = 201) -> DurationRank:
        """Fit one set of label quantiles for all rows, regardless of duration.

        Args:
            quantiles: returns the quantiles of all labels at some ranks.
            points: number of ranks.
        """
        everyone = quantiles(np.linspace(0.0, 1.0, points))
        return cls(np.empty(0), np.stack([everyone, everyone]))

    def _bucket(self, duration: F64 | None) -> NDArray[np.int64]:
        if duration is None:
            raise DataError("the duration_rank transform needs the duration of each row; set schema.duration")
        last = len(self.quantiles) - 1
        return np.where(np.isfinite(duration), np.searchsorted(self.edges, duration, side="right"), last)

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return mid-ranks in [0, 1]: ties get the mean of the ranks they span."""
        bucket = self._bucket(duration)
        target = np.empty(len(label))
        points = self.quantiles.shape[1]
        for b in np.unique(bucket):
            rows = bucket == b
            low = np.searchsorted(self.quantiles[b], label[rows], side="left")
            high = np.searchsorted(self.quantiles[b], label[rows], side="right")
            target[rows] = np.clip((low + high - 1) / 2.0 / (points - 1), 0.0, 1.0)
        return target

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return the bucket's training quantile at each predicted rank."""
        bucket = self._bucket(duration)
        label = np.empty(len(target))
        ranks = np.linspace(0.0, 1.0, self.quantiles.shape[1])
        for b in np.unique(bucket):
            rows = bucket == b
            label[rows] = np.interp(target[rows], ranks, self.quantiles[b])
        return label

    def state(self) -> dict[str, Any]:
        """Return the edges and quantiles."""
        return {"edges": self.edges.tolist(), "quantiles": self.quantiles.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> DurationRank:
        """Rebuild from the JSON form."""
        edges, quantiles = numbers(state, "edges"), numbers(state, "quantiles", dimensions=2)
        if len(quantiles) != len(edges) + 2 or quantiles.shape[1] < 2:
            raise ValueError(f"{len(edges)} edges and quantiles of shape {quantiles.shape} do not match")
        if (np.diff(edges) < 0).any():
            raise ValueError("'edges' must be increasing")
        return cls(edges, quantiles)
