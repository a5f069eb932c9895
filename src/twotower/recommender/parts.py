"""The named parts of a trained model: what it knows, what it has seen, and what it was trained for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config import ObjectiveConfig
from twotower.core.asked import Ids, as_series
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.core.vocabulary import Vocabulary
from twotower.errors import DataError, nearest
from twotower.targets.positive import PositiveRule
from twotower.towers import SideArrays
from twotower.towers.fold_in import FoldInSettings

_LARGEST = float(np.finfo(np.float32).max)
_LOOKED_AT, _SCALE, _COMMON = 100_000, 20, 0.05
"""Labels are a scale if the first 100,000 have 2 to 20 values, and the highest one has this share of all
and is not the rarest: of counts it is."""


@dataclass(frozen=True, eq=False, repr=False)
class EntityVectors(Vocabulary):
    """The users or the items that a recommender knows: their ids, one row each, and their vectors.

    Attributes:
        vectors: float32 (rows, dim).
        warm: bool (rows,), whether the row has interactions in the training set.
        arrays: what the towers read of each row, without histories; None unless users' histories are read
            (`twotower.towers.Tower.reads_history`), as then their vectors are made from them.
        typical: float32 (dim,), the mean of the vectors of training, and the shape of how these deviate from
            it (`twotower.towers.FoldIn`), where a bundle left the vectors out; else None.
    """

    lasting: ClassVar[bool] = True
    vectors: NDArray[np.float32]
    warm: NDArray[np.bool_]
    arrays: SideArrays | None = None
    typical: tuple[NDArray[np.float32], NDArray[np.float64] | None] | None = None

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the row of each id, -1 where there is none."""
        check_process()
        return super().rows(ids)

    def known_rows(self, ids: Ids, what: str, fix: str = "") -> NDArray[np.int64]:
        """Return the row of each id, int64 (n,).

        Args:
            ids: any number of ids, including none; a bare string or number is one id.
            what: "user" or "item".
            fix: a hint to add to the error.

        Raises:
            DataError: an id has no row.
        """
        asked = as_series(ids, f"{what}s")
        if not len(asked):
            return np.empty(0, np.int64)
        rows = self.rows(asked)
        if (rows < 0).any():
            at = int(np.argmin(rows))
            raise DataError(
                f"unknown {what} {asked[at]!r}: it has no interaction in the training set and no row in "
                f"the {what}s table.{nearest(str(asked[at]), [str(i) for i in self.ids.head(10_000)])}{fix}"
            )
        return rows

    def distinct_rows(self, ids: Ids, what: str) -> NDArray[np.int64]:
        """Return what `known_rows` does, a repeated id once, where it comes first."""
        rows = self.known_rows(ids, what)
        return rows[np.sort(np.unique(rows, return_index=True)[1])]


@dataclass(frozen=True, repr=False)
class Catalogue(ShortRepr):
    """The users and items that a model knows, and what is displayed of the items.

    Attributes:
        users: every user of the users table and of the training set.
        items: every item of the items table and of the training set.
        display: one row an item, in the order of ``items``: id and display columns.
        item_duration: float64 (items,), nan where not known; None without a duration in the items table.
    """

    users: EntityVectors
    items: EntityVectors
    display: pl.DataFrame
    item_duration: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(ShortRepr):
    """The training set, user by user.

    Where towers read histories in the order of time, each user's entries are ascending in time, those of one
    time in the order of the training set, and those without a time last. Elsewhere they are in the order of
    the training set.

    Attributes:
        items: the item rows of each user.
        labels: float32, the label of each entry of ``items``; None without labels.
        grades: float32, what each entry counts in a history, see `twotower.targets.target.history_grades`;
            None unless histories are read.
        times: float64, seconds since 1970-01-01 UTC, nan where unknown; None unless histories are read in the
            order of time.
    """

    items: Lists
    labels: NDArray[np.float32] | None
    grades: NDArray[np.float32] | None = None
    times: NDArray[np.float64] | None = None

    @cached_property
    def negative(self) -> bool:
        """Whether a label may be negative: one of the training set is."""
        return self.labels is None or bool((self.labels < 0).any())

    @cached_property
    def highest(self) -> float:
        """The highest label of a scale, such as 5 stars; infinite where labels are no scale.

        They are one if there are few different labels, and the highest is common and not the rarest. Of
        counts it is the rarest, and a later one may be higher.
        """
        if self.labels is None or not 2 <= len(np.unique(self.labels[:_LOOKED_AT])) <= _SCALE:
            return math.inf
        values, counts = np.unique(self.labels, return_counts=True)
        common = counts[-1] >= _COMMON * counts.sum() and counts[-1] > counts.min()
        return float(values[-1]) if common else math.inf

    def fault(self, labels: Sequence[float | None] | NDArray[np.float64]) -> str:
        """Return what is wrong with labels of interactions since training; empty if nothing is."""
        values = np.asarray(labels, dtype=np.float64)  # None is nan
        if (large := values[np.abs(values) > _LARGEST]).size:
            return f"a label must fit a 32-bit float, at most {_LARGEST:.1e} in size; got {large[0]:g}"
        if (above := values[values.astype(np.float32) > self.highest]).size:
            return (
                f"labels are on a scale, whose highest is {self.highest:g} in the training set; "
                f"got {above[0]:g}"
            )
        if self.negative or not (wrong := values[values < 0]).size:
            return ""
        return f"no label of the training set is negative, so none can be; got {wrong[0]:g}"


@dataclass(frozen=True)
class Kinds:
    """What ``model.kind = "auto"`` chose among several kinds of towers, on the validation set.

    Attributes:
        metric: what they were compared by.
        alone: kind -> its value, of each kind that was trained.
        weights: kind -> weight of its scores, of each that was kept; the first one's is 1.
        value: of what was kept.
    """

    metric: str
    alone: dict[str, float]
    weights: dict[str, float]
    value: float

    @property
    def kept(self) -> str:
        """What was kept, as in ``sequence + 0.35 linear``."""
        return " + ".join(name if of == 1.0 else f"{of:g} {name}" for name, of in self.weights.items())

    def __str__(self) -> str:
        each = ", ".join(f"{name} {value:.4f}" for name, value in self.alone.items())
        return f"validation {self.metric}: {each}; kept {self.kept} ({self.value:.4f})"


@dataclass(frozen=True, repr=False)
class Training(ShortRepr):
    """What a model was trained for, and how it went.

    Attributes:
        positive: which interactions count as positives.
        objective: what was minimised.
        fold_in: what folding in needs to know of the training.
        epochs: one record an epoch.
        exclude_seen: whether recommendations leave out a user's items of the training set by default.
        kinds: what was chosen among kinds of towers; None if one was named or none could be chosen.
        user_vectors: whether bundles have the vectors of users; see `twotower.recommender.left_out`.
    """

    positive: PositiveRule
    objective: ObjectiveConfig
    fold_in: FoldInSettings
    epochs: list[dict[str, Any]]
    exclude_seen: bool = True
    kinds: Kinds | None = None
    user_vectors: bool = True
