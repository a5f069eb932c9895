"""`Feedback`: all that a ranking baseline sees of a train part, its (user, item) pairs and their grades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from twotower.baselines.baseline import FloatArray, rows_of
from twotower.data.dataset import TrainPart
from twotower.errors import DataError

_BLOCK = 2**22
"""Scores of a block: 32 MiB of float64."""


@dataclass(frozen=True, eq=False)
class Feedback:
    """The (user, item) pairs of a train part, each once.

    Attributes:
        users: the distinct ids (n_users,), sorted.
        items: the same of items (n_items,).
        matrix: float64 (n_users, n_items), the grade of each pair, above 0; without grades 1. No row or
            column is empty.
        train: where they are from.
        graded: whether pairs have grades.
    """

    users: pl.Series
    items: pl.Series
    matrix: csr_array
    train: TrainPart
    graded: bool = False

    @classmethod
    def of(cls, train: TrainPart, grades: ArrayLike | None = None) -> Feedback:
        """Collect the pairs of a train part.

        Args:
            train: each interaction is a pair; pairs of grade 0 are left out, as if never observed.
            grades: (n,) how much each interaction counts, finite and at least 0; of several interactions of a
                pair the highest counts. None: 1 each.

        Raises:
            TypeError: ``train`` was not declared as a train part, as for an encoder.
            DataError: it has no rows, or the grades are not of the kind above.
        """
        if not isinstance(train, TrainPart):
            raise TypeError(
                f"a baseline is fitted on a TrainPart only, got {type(train).__name__}; use the first part "
                "that twotower.split returns, or Dataset.as_train() if all of it is for training"
            )
        rows = train.interactions.select(user=train.schema.user, item=train.schema.item)
        value = np.ones(rows.height) if grades is None else _checked(grades, rows.height)
        rows = rows.with_columns(value=pl.Series(value)).filter(pl.col("value") > 0)
        if not rows.height:
            raise DataError(
                "a ranking baseline needs at least one positive to learn from, got 0; check the split and "
                "the rule for positives"
            )
        pairs = rows.group_by("user", "item").agg(pl.col("value").max())
        users, items = pairs.get_column("user").unique().sort(), pairs.get_column("item").unique().sort()
        places = (rows_of(pairs.get_column("user"), users), rows_of(pairs.get_column("item"), items))
        matrix = csr_array((pairs.get_column("value").to_numpy(), places), shape=(len(users), len(items)))
        matrix.sort_indices()  # one order of summation, whatever the order of the rows
        return cls(users, items, matrix, train, graded=grades is not None)

    def raised(self, power: float) -> Feedback:
        """Return the same pairs, their grades taken to a power: above 1 the high ones stand out more."""
        if power == 1.0 or not self.graded:
            return self
        matrix = self.matrix.copy()
        matrix.data = matrix.data**power
        return replace(self, matrix=matrix)

    @property
    def popularity(self) -> FloatArray:
        """Sum of the grades of each item (n_items,); without grades its number of distinct users."""
        total: FloatArray = np.asarray(self.matrix.sum(axis=0), dtype=np.float64)
        return total

    def overlaps(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield, block by block of items, the dot products of their columns with each item's.

        Without grades these are the numbers of users that two items share.

        Yields:
            The rows of the block, and its rows (block, n_items) of the symmetric matrix.
        """
        by_item = self.matrix.T.tocsr()  # (n_items, n_users)
        for rows in blocks(len(self.items), len(self.items)):
            yield rows, (by_item[rows] @ self.matrix).toarray()


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield the rows of blocks that together hold at most `_BLOCK` numbers, a row holding ``width``."""
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _checked(grades: ArrayLike, n: int) -> FloatArray:
    values = np.asarray(grades, dtype=np.float64)
    if values.shape != (n,):
        raise DataError(f"there must be one grade for each interaction, ({n},); got shape {values.shape}")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        at = int(bad.argmax())
        raise DataError(f"grades must be finite and at least 0; got {values[at]} at row {at}")
    return values
