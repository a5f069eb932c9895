"""`Positives`: all that a ranking baseline sees of a train part, the set of its (user, item) pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from twotower.baselines.baseline import FloatArray, rows_of
from twotower.data.dataset import TrainPart
from twotower.errors import DataError

_BLOCK = 2**22
"""Scores of a block: 32 MiB of float64."""


@dataclass(frozen=True, eq=False)
class Positives:
    """The (user, item) pairs of a train part, each once.

    Attributes:
        users: the distinct ids (n_users,), sorted.
        items: the same of items (n_items,).
        matrix: float64 (n_users, n_items), 1 for each pair. No row or column is empty.
        train: where they are from.
    """

    users: pl.Series
    items: pl.Series
    matrix: csr_array
    train: TrainPart

    @classmethod
    def of(cls, train: TrainPart) -> Positives:
        """Collect the pairs of a train part.

        Raises:
            TypeError: ``train`` was not declared as a train part, as for an encoder.
            DataError: it has no rows.
        """
        if not isinstance(train, TrainPart):
            raise TypeError(
                f"a baseline is fitted on a TrainPart only, got {type(train).__name__}; use the first part "
                "that twotower.split returns, or Dataset.as_train() if all of it is for training"
            )
        if not len(train):
            raise DataError(
                "a ranking baseline needs at least one positive to learn from, got 0; check the split and "
                "the rule for positives"
            )
        pairs = train.interactions.select(user=train.schema.user, item=train.schema.item).unique()
        users, items = pairs.get_column("user").unique().sort(), pairs.get_column("item").unique().sort()
        places = (rows_of(pairs.get_column("user"), users), rows_of(pairs.get_column("item"), items))
        matrix = csr_array((np.ones(pairs.height), places), shape=(len(users), len(items)))
        matrix.sort_indices()  # one order of summation, whatever the order of the rows
        return cls(users, items, matrix, train)

    @property
    def popularity(self) -> FloatArray:
        """Number of distinct users of each item (n_items,), at least 1."""
        return np.bincount(self.matrix.indices, minlength=len(self.items)).astype(np.float64)

    def overlaps(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield, block by block of items, the numbers of users that these share with each item.

        Yields:
            The rows of the block, and its rows (block, n_items) of the symmetric matrix; the diagonal holds
            the popularity.
        """
        by_item = self.matrix.T.tocsr()  # (n_items, n_users)
        for rows in blocks(len(self.items), len(self.items)):
            yield rows, (by_item[rows] @ self.matrix).toarray()


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield the rows of blocks that together hold at most `_BLOCK` numbers, a row holding ``width``."""
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
