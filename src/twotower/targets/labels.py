"""Label transforms and their inverses: from labels to training targets, and back to the label's units.

A model is trained on ``forward(label)``, and ``inverse`` turns its scores into predictions. Transforms are
fitted only on the training set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.core.reprs import ShortRepr
from twotower.core.saved import number, numbers
from twotower.errors import ConfigError, DataError, nearest

F64 = NDArray[np.float64]


class LabelTransform(ABC):
    """A fitted map from labels to targets and back. Create it with `label_transform`.

    Arguments of both directions are float64 (n,); ``duration`` is the item's duration for each row, used only
    by the duration-debiased rank.
    """

    name: ClassVar[str]
    needs_duration: ClassVar[bool] = False

    @abstractmethod
    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return the targets that the model is trained on."""

    @abstractmethod
    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return predicted targets in the label's units."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the JSON form, without the name."""


@dataclass(frozen=True)
class Identity(LabelTransform):
    """The label unchanged."""

    name: ClassVar[str] = "none"

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return the labels."""
        return label

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return the targets."""
        return target

    def state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}


@dataclass(frozen=True)
class Cap(LabelTransform):
    """``min(label, at)``: limits the effect of outliers on the loss. The inverse is the identity."""

    at: float
    name: ClassVar[str] = "cap"

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return the labels, at most ``at``."""
        return np.minimum(label, self.at)

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return the targets, at most ``at``."""
        return np.minimum(target, self.at)

    def state(self) -> dict[str, Any]:
        """Return the cap."""
        return {"at": self.at}


@dataclass(frozen=True)
class Log1p(LabelTransform):
    """``log(1 + label)`` for labels >= 0; the inverse ``exp(target) - 1`` predicts a geometric mean."""

    name: ClassVar[str] = "log1p"

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return log(1 + label)."""
        return np.log1p(_non_negative(label, "log1p"))

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return exp(target) - 1, at least 0."""
        return np.maximum(np.expm1(target), 0.0)

    def state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}


@dataclass(frozen=True)
class Standardise(LabelTransform):
    """``(label - mean) / sd`` with the training set's mean and standard deviation."""

    mean: float
    sd: float
    name: ClassVar[str] = "standardise"

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return standardised labels."""
        return (label - self.mean) / self.sd

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return labels."""
        return target * self.sd + self.mean

    def state(self) -> dict[str, Any]:
        """Return the mean and standard deviation."""
        return {"mean": self.mean, "sd": self.sd}


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

    @classmethod
    def fit(cls, label: F64, duration: F64, buckets: int = 30, points: int = 201) -> DurationRank:
        """Fit buckets of equal row counts and the label quantiles of each."""
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
    def of_all(cls, label: F64, points: int = 201) -> DurationRank:
        """Fit one set of label quantiles for all rows, regardless of duration."""
        everyone = np.quantile(label, np.linspace(0.0, 1.0, points))
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


TRANSFORMS = ("none", "cap", "log1p", "standardise", "duration_rank")


def label_transform(
    name: str, label: F64, duration: F64 | None = None, *, cap: float | None = None
) -> LabelTransform:
    """Fit a label transform on training labels.

    Args:
        name: one of `TRANSFORMS`.
        label: float64 (n,) training labels.
        duration: float64 (n,) durations of the training rows, for ``duration_rank``.
        cap: the maximum that the ``cap`` transform clips to.

    Raises:
        ConfigError: unknown name, or ``cap`` without a value.
        DataError: labels or durations that are invalid for the transform.
    """
    if name == "none":
        return Identity()
    if name == "cap":
        if cap is None:
            raise ConfigError("transform 'cap' needs a maximum; set objective.cap")
        return Cap(cap)
    if name == "log1p":
        _non_negative(label, "log1p")
        return Log1p()
    if name == "standardise":
        sd = float(label.std())
        return Standardise(float(label.mean()), sd if sd > 0 else 1.0)
    if name == "duration_rank":
        if duration is None:
            raise ConfigError(
                "transform 'duration_rank' needs the items' duration; set schema.duration to its column"
            )
        return DurationRank.fit(label, duration)
    raise ConfigError(
        f"unknown label transform {name!r}.{nearest(name, TRANSFORMS)} Valid: {', '.join(TRANSFORMS)}."
    )


def transform_from_state(name: str, state: dict[str, Any]) -> LabelTransform:
    """Rebuild a fitted transform from its saved form."""
    if name == "duration_rank":
        return DurationRank.from_state(state)
    if name == "cap":
        return Cap(number(state, "at"))
    if name == "standardise":
        return Standardise(number(state, "mean"), number(state, "sd", above=0.0))
    plain: dict[str, type[LabelTransform]] = {"none": Identity, "log1p": Log1p}
    return plain[name]()


def _non_negative(label: F64, name: str) -> F64:
    if len(label) and label.min() < 0:
        raise DataError(f"transform {name!r} needs labels of at least 0; got {label.min()}")
    return label
