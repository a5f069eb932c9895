"""`PairSquares`: the least-squares problems of `AllPairs` in one side's vectors, with the other's fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.least_squares import ROWS, solve_rows, squared_error
from twotower.kernels.pairs import Pairs
from twotower.objectives.objective import CellWeight
from twotower.objectives.penalty import penalty_shares
from twotower.training.closed_form.hard_negatives import Negatives
from twotower.training.stored_pairs import StoredPairs

F32 = NDArray[np.float32]


class RowTerms:
    """What the least-squares problem of each row has beside its pairs.

    Args:
        counts: "users" and "items" -> (rows,) training pairs of each.
        cell: weight of the cells of the user-item matrix, relative to an observed pair.
        strength: strength of the ridge; see `twotower.objectives.penalty`.

    Attributes:
        cells: "users" and "items" -> float32 (rows,), factor of the weight of a row's cells.
        ridge: the same, ridge strength of each row.
    """

    def __init__(self, counts: Mapping[str, NDArray[np.int64]], cell: CellWeight, strength: float) -> None:
        self.cells = {"users": cell.of(counts["users"]), "items": np.ones(len(counts["items"]), np.float32)}
        self.ridge = {
            which: (strength * of * penalty_shares(of)).astype(np.float32) for which, of in counts.items()
        }

    def scale_ridge(self, factor: float) -> Self:
        """Return the same with another ridge: this one times a factor."""
        other = copy(self)
        other.ridge = {which: (ridge * factor).astype(np.float32) for which, ridge in self.ridge.items()}
        return other


class PairSquares(RowTerms):
    """The training pairs grouped by user and by item, with the cell weight and the ridge of each row.

    Args:
        pairs: the training pairs.
        n_items: number of warm items.
        cell, strength: as in `RowTerms`.
    """

    def __init__(self, pairs: Pairs, n_items: int, cell: CellWeight, strength: float) -> None:
        self.grouped = {"users": pairs, "items": pairs.by_item(n_items)}
        counts = {which: np.diff(grouped.indptr) for which, grouped in self.grouped.items()}
        super().__init__(counts, cell, strength)

    def with_negatives(self, negatives: Iterator[Negatives], weight: float) -> PairSquares:
        """Return the problems with more pairs, of target 0; cells and ridge stay.

        Args:
            negatives: their users and items, of all users.
            weight: of each.
        """
        pairs, n_items = self.grouped["users"], len(self.cells["items"])
        more: Pairs
        if isinstance(pairs, StoredPairs):
            more = pairs.with_zeros_of(negatives, weight)
        else:
            _, user, item = zip(*negatives, strict=True)
            more = pairs.with_zeros(np.concatenate(user), np.concatenate(item), weight)
        other = copy(self)
        other.grouped = {"users": more, "items": more.by_item(n_items)}
        return other

    def solve(self, which: str, other: F32, start: F32, towards: F32) -> F32:
        """Move the rows of one side towards their solution; see `solve_rows`."""
        factors = self.cells[which], self.cells["items" if which == "users" else "users"]
        pairs = self.grouped[which]
        solved = solve_rows(pairs, other, start, towards, self.ridge[which], *factors)
        pairs.release()
        return solved

    def loss(self, U: F32, V: F32) -> float:
        """Return the loss of `AllPairs` over all training pairs, without the penalty."""
        of_users = np.zeros((U.shape[1], U.shape[1]), np.float32)
        for first in range(0, len(U), ROWS):
            rows = slice(first, first + ROWS)
            of_users += (U[rows] * self.cells["users"][rows, None]).T @ U[rows]
        squares = float((of_users.astype(np.float64) * (V.T @ V)).sum())
        pairs = self.grouped["users"]
        error = squared_error(U, V, pairs)
        pairs.release()
        return error + squares / max(len(pairs), 1)
