"""`GradeRows`: users' grades of items, a row a user, and the products that `ItemMatrix` needs of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

F32 = NDArray[np.float32]


class GradeRows(ABC):
    """The matrix X of users' grades, (n_users, n_items), here or divided among workers.

    W is X with each row times the root of the user's weight, one divided by the root of the sum of grades.
    """

    shape: tuple[int, int]

    @abstractmethod
    def squares(self) -> NDArray[np.float64]:
        """Return the sum of squares of each column of W, (n_items,)."""

    @abstractmethod
    def gram(self, dtype: type[np.floating]) -> NDArray[Any]:
        """Return W'W, (n_items, n_items)."""

    @abstractmethod
    def through(self, x: F32, scale: F32 | None = None) -> F32:
        """Return W'(W x), (n_items, k).

        Args:
            x: (n_items, k).
            scale: (n_items,) what columns of W are multiplied by; None for nothing.
        """

    @abstractmethod
    def square(self, x: F32, scale: F32 | None = None) -> F32:
        """Return (W x)'(W x), (k, k); see `through`."""

    @abstractmethod
    def times(self, x: F32) -> F32:
        """Return X x, (n_users, k)."""


class Grades(GradeRows):
    """Rows that are here.

    Args:
        matrix: float32 (n_users, n_items), each user's grade of an item.
    """

    def __init__(self, matrix: csr_array) -> None:
        self.matrix, self.shape = matrix, matrix.shape
        total = np.asarray(matrix.sum(axis=1), np.float64)
        root = np.maximum(total, np.finfo(np.float32).tiny) ** -0.25
        self.weighted = csr_array(diags_array(root) @ matrix).astype(np.float32)
        self._scaled: tuple[F32, csr_array, csr_array] | None = None

    @cached_property
    def by_item(self) -> csr_array:
        """The transpose of W."""
        return csr_array(self.weighted.T)

    def squares(self) -> NDArray[np.float64]:
        """Return the sum of squares of each column; see `GradeRows`."""
        squares = np.square(self.weighted.data, dtype=np.float64)
        return np.asarray(np.bincount(self.weighted.indices, squares, self.shape[1]), np.float64)

    def gram(self, dtype: type[np.floating]) -> NDArray[Any]:
        """Return W'W; see `GradeRows`."""
        dense: NDArray[Any] = (self.by_item.astype(dtype) @ self.weighted.astype(dtype)).toarray()
        return dense

    def through(self, x: F32, scale: F32 | None = None) -> F32:
        """Return W'(W x); see `GradeRows`."""
        rows, columns = self._of(scale)
        found: F32 = columns @ (rows @ x)
        return found

    def square(self, x: F32, scale: F32 | None = None) -> F32:
        """Return (W x)'(W x); see `GradeRows`."""
        image = self._of(scale)[0] @ x
        found: F32 = image.T @ image
        return found

    def times(self, x: F32) -> F32:
        """Return X x; see `GradeRows`."""
        found: F32 = self.matrix @ x
        return found

    def _of(self, scale: F32 | None) -> tuple[csr_array, csr_array]:
        """Return W, with its columns scaled, and its transpose."""
        if scale is None:
            return self.weighted, self.by_item
        if self._scaled is None or not np.array_equal(self._scaled[0], scale):
            rows = csr_array(self.weighted @ diags_array(scale))
            self._scaled = scale, rows, csr_array(rows.T)
        return self._scaled[1:]
