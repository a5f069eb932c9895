"""`PositiveRule`: which interactions count as positives, fitted on the training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twotower.config import PositiveConfig
from twotower.core.reprs import ShortRepr
from twotower.core.saved import optional
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.errors import ConfigError, DataError
from twotower.targets.duration_rank import DurationRank
from twotower.targets.labels import F64


@dataclass(frozen=True, repr=False)
class PositiveRule(ShortRepr):
    """A fitted rule; with neither threshold nor rank, every interaction is a positive.

    Attributes:
        threshold: minimum label of a positive.
        rank: minimum rank of a positive's label among training labels of similar duration.
        order: maps a label to its rank from 0 to 1 among the training labels: those of similar duration (Zhan
            et al., KDD 2022) if the rule is ``rank``, else all. None without labels
    """

    threshold: float | None = None
    rank: float | None = None
    order: DurationRank | None = None

    @classmethod
    def fit(cls, train: TrainPart, config: PositiveConfig) -> Self:
        """Fit the config's rule on the training set.

        Raises:
            ConfigError: the rule needs a label or duration that the schema does not name.
            DataError: every duration is missing.
        """
        rule = next((name for name, value in config if value is not None), None)
        if train.schema.label is None:
            if rule is None:
                return cls()
            raise ConfigError(
                f"positive.{rule} needs labels and the schema has none; set schema.label, or remove the rule "
                "so that every interaction is a positive"
            )
        if config.duration_rank is not None:
            duration = durations(train)
            if duration is None:
                raise ConfigError(
                    "positive.duration_rank needs the items' duration; set schema.duration to its column"
                )
            return cls(rank=config.duration_rank, order=DurationRank.fit(_labels(train), duration))
        _check_labelled(train)
        order = DurationRank.of_all(train.label_quantiles)
        if config.quantile is not None:
            return cls(threshold=float(train.label_quantiles(np.array([config.quantile]))[0]), order=order)
        return cls(threshold=config.threshold, order=order)

    @property
    def selects(self) -> bool:
        """Whether there is a rule; if not, every interaction is a positive."""
        return self.threshold is not None or self.rank is not None

    def positive(self, data: Dataset) -> NDArray[np.bool_]:
        """Return which interactions are positives, as bool (n,).

        Raises:
            DataError: the rule needs labels and these interactions have none.
        """
        if not self.selects:
            return np.ones(len(data), dtype=np.bool_)
        return self.are_positive(_labels(data), durations(data))

    def some_positive(self, data: Dataset) -> bool:
        """Return whether there is a positive; see `positive`."""
        return any(bool(self.positive(block).any()) for block in data.blocks())

    def are_positive(self, label: F64, duration: F64 | None) -> NDArray[np.bool_]:
        """Return which labels (n,) are positive, given the items' durations (n,), as bool (n,)."""
        found = np.ones(len(label), dtype=np.bool_)
        if self.threshold is not None:
            found &= label >= self.threshold
        if self.rank is not None:
            found &= self.grades(label, duration) >= self.rank
        return found

    def grades(self, label: F64, duration: F64 | None) -> F64:
        """Return the rank of each label (n,) among the training labels, float64 (n,) in [0, 1].

        Equal labels have their mean rank.
        """
        assert self.order is not None  # the caller has labels, so the training set had them
        known = np.full(len(label), np.nan) if duration is None or self.rank is None else duration
        return self.order.forward(label, known)

    def graded(self, label: F64, duration: F64 | None, floor: float) -> F64:
        """Return what each interaction counts: ``floor + (1 - floor) * rank`` of its label, float64 (n,)."""
        return floor + (1.0 - floor) * self.grades(label, duration)

    def select(self, data: Dataset) -> Dataset:
        """Return only the positives.

        Raises:
            DataError: there are none (the message describes the labels).
        """
        found = data.distinct_where(self.positive)
        if not len(found):
            raise DataError(self._none(data))
        return found

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "threshold": self.threshold,
            "rank": self.rank,
            "order": None if self.order is None else self.order.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from the JSON form."""
        order = None if state["order"] is None else DurationRank.from_state(state["order"])
        return cls(optional(state, "threshold"), optional(state, "rank"), order)

    def _none(self, data: Dataset) -> str:
        if not len(data):
            return "there must be at least one positive; got no interactions. Check the split"
        rule = (
            f"a label of at least {self.threshold:g}"
            if self.threshold is not None
            else f"a rank of at least {self.rank:g} among labels of similar duration"
        )
        low, middle, high, top = data.label_quantiles(np.array([0.0, 0.5, 0.9, 1.0]))
        return (
            f"there must be at least one positive ({rule}); got none in "
            f"{count_of(len(data), 'interaction')}. Labels range from {low:g} to {top:g}, with median "
            f"{middle:g} and 90% quantile {high:g}. Lower the threshold in [positive]"
        )


def _labels(data: Dataset) -> F64:
    _check_labelled(data)
    return data.labels()


def _check_labelled(data: Dataset) -> None:
    if not data.labelled:
        columns = ", ".join(data.columns)
        raise DataError(
            f"positives are defined by the label column {data.schema.label!r}, which these interactions "
            f"lack; their columns are {columns}"
        )
