"""`LabelTransform`: from labels to training targets, and back to the label's units; and those of one line.

A model is trained on ``forward(label)``, and ``inverse`` turns its scores into predictions. Transforms are
fitted only on the training set. `twotower.targets.registry` has all by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from twotower.core.saved import number
from twotower.errors import ConfigError, DataError

F64 = NDArray[np.float64]


class LabelTransform(ABC):
    """A fitted map from labels to targets and back. Create it with `fit`.

    Arguments of both directions are float64 (n,); ``duration`` is the item's duration for each row.
    """

    name: ClassVar[str]
    needs_duration: ClassVar[bool] = False
    """Whether targets depend on the item's duration."""
    tames_outliers: ClassVar[bool] = False
    """Whether a few extreme labels no longer dominate a squared error."""

    fits: ClassVar[bool] = True
    """Whether `fit` reads the labels; False where labels may be transformed part by part without it."""

    @classmethod
    def fit(cls, label: F64, duration: F64 | None = None, *, cap: float | None = None) -> Self:
        """Fit on training labels. Most transforms have nothing to fit.

        Args:
            label: float64 (n,) training labels.
            duration: float64 (n,) durations of the training rows; None if the schema has none.
            cap: ``objective.cap``, for the transform that clips.

        Raises:
            ConfigError: a setting or a column that the transform needs is not given.
            DataError: labels or durations that are invalid for the transform.
        """
        return cls()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from what `state` returned.

        Raises:
            ValueError: a value is invalid.
        """
        return cls()

    @abstractmethod
    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return the targets that the model is trained on."""

    @abstractmethod
    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return predicted targets in the label's units."""

    def state(self) -> dict[str, Any]:
        """Return what was fitted as JSON values."""
        return {}


@dataclass(frozen=True)
class Identity(LabelTransform):
    """The label unchanged."""

    name: ClassVar[str] = "none"
    fits: ClassVar[bool] = False

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return the labels."""
        return label

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return the targets."""
        return target


@dataclass(frozen=True)
class Cap(LabelTransform):
    """``min(label, at)``: limits the effect of outliers on the loss. The inverse is the identity."""

    at: float
    name: ClassVar[str] = "cap"
    fits: ClassVar[bool] = False
    tames_outliers: ClassVar[bool] = True

    @classmethod
    def fit(cls, label: F64, duration: F64 | None = None, *, cap: float | None = None) -> Cap:
        """Take the cap."""
        if cap is None:
            raise ConfigError("transform 'cap' needs a maximum; set objective.cap")
        return cls(cap)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Cap:
        """Rebuild from the JSON form."""
        return cls(number(state, "at"))

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
    fits: ClassVar[bool] = False
    tames_outliers: ClassVar[bool] = True

    @classmethod
    def fit(cls, label: F64, duration: F64 | None = None, *, cap: float | None = None) -> Log1p:
        """Check that no label is negative."""
        cls().forward(label)
        return cls()

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return log(1 + label)."""
        if len(label) and label.min() < 0:
            raise DataError(f"transform 'log1p' needs labels of at least 0; got {label.min()}")
        return np.log1p(label)

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return exp(target) - 1, at least 0."""
        return np.maximum(np.expm1(target), 0.0)


@dataclass(frozen=True)
class Standardise(LabelTransform):
    """``(label - mean) / sd`` with the training set's mean and standard deviation."""

    mean: float
    sd: float
    name: ClassVar[str] = "standardise"

    @classmethod
    def fit(cls, label: F64, duration: F64 | None = None, *, cap: float | None = None) -> Standardise:
        """Fit mean and standard deviation."""
        sd = float(label.std())
        return cls(float(label.mean()), sd if sd > 0 else 1.0)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Standardise:
        """Rebuild from the JSON form."""
        return cls(number(state, "mean"), number(state, "sd", above=0.0))

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        """Return standardised labels."""
        return (label - self.mean) / self.sd

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        """Return labels."""
        return target * self.sd + self.mean

    def state(self) -> dict[str, Any]:
        """Return the mean and standard deviation."""
        return {"mean": self.mean, "sd": self.sd}
