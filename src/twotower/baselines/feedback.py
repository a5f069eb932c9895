"""`Feedback`: the input of a ranking baseline: (user, item) pairs of a training set and their grades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from twotower.baselines.baseline import FloatArray
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import TrainPart, check_train
from twotower.errors import DataError

_BLOCK = 2**22
"""Scores per block: 32 MiB of float64."""


@dataclass(frozen=True, eq=False)
class Feedback:
    """The distinct (user, item) pairs of a training set.

    Attributes:
        users: the distinct user ids (n_users,), ascending.
        items: the distinct item ids (n_items,), ascending.
        matrix: float64 (n_users, n_items), the grade of each pair, above 0; 1 without grades. No row or
            column is empty.
        train: the training set.
        graded: whether pairs have grades.
    """

    users: Vocabulary
    items: Vocabulary
    matrix: csr_array
    train: TrainPart
    graded: bool = False

    @classmethod
    def of(cls, train: TrainPart, grades: ArrayLike | None = None) -> Feedback:
        """Collect the pairs of a training set.

        Args:
            train: each interaction is a pair; pairs with grade 0 are dropped, as if unobserved.
            grades: (n,) grade of each interaction, finite and at least 0; a pair with several interactions
                has the highest. None: all 1.

        Raises:
            TrainPartError: ``train`` is not marked as a training set.
            DataError: it has no rows, or the grades are invalid.
        """
        check_train(train, "a baseline")
        rows = train.interactions.select(user=train.schema.user, item=train.schema.item)
        value = np.ones(rows.height) if grades is None else _checked(grades, rows.height)
        rows = rows.with_columns(value=pl.Series(value)).filter(pl.col("value") > 0)
        if not rows.height:
            raise DataError(
                "a ranking baseline needs at least one positive in the training set; got 0. Check [split] "
                "and [positive]"
            )
        pairs = rows.group_by("user", "item").agg(pl.col("value").max())
        users, items = (Vocabulary.distinct(pairs.get_column(name)) for name in ("user", "item"))
        places = (users.rows(pairs.get_column("user")), items.rows(pairs.get_column("item")))
        matrix = csr_array((pairs.get_column("value").to_numpy(), places), shape=(len(users), len(items)))
        matrix.sort_indices()  # a fixed order of summation, whatever the order of the rows
        return cls(users, items, matrix, train, graded=grades is not None)

    def raised(self, power: float) -> Feedback:
        """Return the same pairs with grades raised to a power; above 1, high grades count for more."""
        if power == 1.0 or not self.graded:
            return self
        matrix = self.matrix.copy()
        matrix.data = matrix.data**power
        return replace(self, matrix=matrix)

    @property
    def popularity(self) -> FloatArray:
        """Sum of each item's grades (n_items,); without grades its number of distinct users."""
        total: FloatArray = np.asarray(self.matrix.sum(axis=0), dtype=np.float64)
        return total

    def overlaps(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield, for blocks of items, the dot products of their columns with all columns.

        Without grades these are the numbers of users that two items have in common.

        Yields:
            The rows of the block, and the corresponding rows (block, n_items) of the symmetric matrix.
        """
        by_item = self.matrix.T.tocsr()  # (n_items, n_users)
        for rows in blocks(len(self.items), len(self.items)):
            yield rows, (by_item[rows] @ self.matrix).toarray()


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield blocks of rows of at most `_BLOCK` numbers each, with ``width`` numbers per row."""
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
