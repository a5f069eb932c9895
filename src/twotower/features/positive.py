"""`PositiveRule`: which interactions count as positives, learnt from train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.errors import ConfigError, DataError
from twotower.features.labels import F64, DurationRank


@dataclass(frozen=True)
class PositiveRule:
    """A fitted rule; with neither a threshold nor ranks every interaction is a positive.

    Attributes:
        threshold: least label of a positive.
        rank: least rank of a positive's label among train labels of like duration.
        ranks: those ranks (Zhan et al., KDD 2022), if ``rank`` is set.
    """

    threshold: float | None = None
    rank: float | None = None
    ranks: DurationRank | None = None

    @classmethod
    def fit(cls, train: TrainPart, config: PositiveConfig) -> Self:
        """Learn from train what the config's rule needs to know.

        Raises:
            ConfigError: the rule needs a label, or a duration, that the schema does not name.
            DataError: every duration is missing.
        """
        if config == PositiveConfig():
            return cls()
        rule = next(name for name, value in config if value is not None)
        if train.schema.label is None:
            raise ConfigError(
                f"positive.{rule} is a rule for labels, and the schema names none; set schema.label, or "
                "leave the rule out, and every interaction is a positive"
            )
        label = _labels(train)
        if config.threshold is not None:
            return cls(threshold=config.threshold)
        if config.quantile is not None:
            return cls(threshold=float(np.quantile(label, config.quantile)))
        duration = durations(train)
        if duration is None:
            raise ConfigError(
                "positive.duration_rank needs the items' duration; set schema.duration to its column"
            )
        return cls(rank=config.duration_rank, ranks=DurationRank.fit(label, duration))

    def positive(self, data: Dataset) -> NDArray[np.bool_]:
        """Return which interactions are positives, bool (n,).

        Raises:
            DataError: the rule reads a label, and these interactions have none.
        """
        found = np.ones(len(data), dtype=np.bool_)
        if self.threshold is not None:
            found = _labels(data) >= self.threshold
        if self.rank is not None and self.ranks is not None:
            duration = durations(data)
            duration = np.full(len(data), np.nan) if duration is None else duration
            found = self.ranks.forward(_labels(data), duration) >= self.rank
        return found

    def grades(self, train: TrainPart) -> F64 | None:
        """Return the rank of each train interaction's label among all of them, float64 (n,) in [0, 1].

        Equal labels have their mean rank. A rule by duration ranks among labels of like duration. None if
        there is no label.
        """
        if train.schema.label is None:
            return None
        label = _labels(train)
        if self.ranks is not None:
            return self.ranks.forward(label, durations(train))
        ranks: F64 = (rankdata(label) - 0.5) / len(label)
        return ranks

    def select(self, data: Dataset) -> Dataset:
        """Return the positives alone.

        Raises:
            DataError: there is none (the message says how the labels lie).
        """
        rows = data.interactions.filter(pl.Series(self.positive(data)))
        if not rows.height:
            raise DataError(self._none(data))
        schema = data.schema
        return data.with_interactions(
            rows.unique([schema.user, schema.item], keep="first", maintain_order=True)
        )

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "threshold": self.threshold,
            "rank": self.rank,
            "ranks": None if self.ranks is None else self.ranks.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from the JSON form."""
        ranks = state["ranks"]
        if ranks is not None:
            ranks = DurationRank(np.asarray(ranks["edges"]), np.asarray(ranks["quantiles"]))
        return cls(state["threshold"], state["rank"], ranks)

    def _none(self, data: Dataset) -> str:
        if not len(data):
            return "there must be at least one positive; got no interactions at all. Check the split"
        rule = (
            f"a label of at least {self.threshold:g}"
            if self.threshold is not None
            else f"a rank of at least {self.rank:g} among labels of like duration"
        )
        label = _labels(data)
        low, middle, high, top = np.quantile(label, [0.0, 0.5, 0.9, 1.0])
        return (
            f"there must be at least one positive ({rule}); none of {len(label):,} interactions is. Their "
            f"labels lie between {low:g} and {top:g}, median {middle:g}, 90% quantile {high:g}. Lower the "
            "rule of [positive]"
        )


def _labels(data: Dataset) -> F64:
    label = data.schema.label
    if label is None or label not in data.interactions.columns:
        raise DataError(
            f"positives are told by the label {label!r}, which these interactions lack; got "
            f"{', '.join(data.interactions.columns)}"
        )
    values: F64 = data.interactions.get_column(label).cast(pl.Float64).to_numpy()
    return values
