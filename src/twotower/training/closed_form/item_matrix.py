"""`ItemMatrix`: the item-item matrix of EASE as two narrow factors, for any ridge.

    minimise  sum_u w_u |X_u - X_u B|^2 + sum_i ridge_i |B_i|^2   with a diagonal of B of 0,

where X has the users' grades of items (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW
2019). A user's weight ``w_u`` is one divided by the root of its sum of grades: each pair of items that it has
says less the more it has, and without weights the few users with most would decide. The ridge of an item
grows with the root of its column's weighted sum of squares, so that an item with much data is shrunk less in
relation to it. Users' scores are ``X B``, and ``B`` becomes ``left right'``:

- `WholeMatrix` solves for B, and keeps the directions in which the users' scores vary most: with V the first
  eigenvectors of ``(X B)' w (X B)``, ``left = B V`` and ``right = V`` are the best factors of the weighted
  ``X B`` of their width (reduced-rank regression). As wide as there are items, they are B itself.
- `SpectralMatrix` never makes a matrix of items x items. With r the ridge and ``(X r^-1/2)' w (X r^-1/2) = Q
  S Q'``, the inverse that EASE needs is ``P = r^-1/2 (I - Q (S / (1 + S)) Q') r^-1/2``: of the first
  eigenvectors alone, all but its diagonal is a product of two factors. They are found by randomised subspace
  iteration (Halko, Martinsson, Tropp 2011), once for all ridges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from twotower.kernels.zero_diagonal import zero_diagonal_ridge
from twotower.training.closed_form.grade_rows import GradeRows

F32 = NDArray[np.float32]

MOST_SOLVED = 8_192
"""Number of items up to which the whole matrix is solved for; it then has 256 MiB."""
SINGLE_FROM = 4_096
"""Number of items from which it is float32, which halves time and memory."""
ROUNDS, SPARE = 4, 32
"""Rounds of the subspace iteration, and directions that it has beyond those that are asked for."""


class ItemMatrix(ABC):
    """The factors of the item-item matrix of a user-item matrix.

    Args:
        rows: the grades; no empty column.
        width: number of columns of the factors.
        seed: of the random start of subspaces.

    Attributes:
        popularity: float64 (n_items,), each column's weighted sum of squares, 1 on average.
        unit: float64 (n_items,), the ridge of each item at strength 1.
    """

    def __init__(self, rows: GradeRows, width: int, seed: int) -> None:
        self.rows, self.width, self.seed = rows, width, seed
        squares = rows.squares()
        mean = max(squares.mean(), 1e-30)
        self.popularity = np.maximum(squares, np.finfo(np.float32).tiny) / mean
        self.unit = np.sqrt(self.popularity) * mean

    @classmethod
    def of(cls, rows: GradeRows, width: int, seed: int) -> ItemMatrix:
        """Return the matrix of either kind, by the number of items."""
        kind = WholeMatrix if rows.shape[1] <= MOST_SOLVED else SpectralMatrix
        return kind(rows, width, seed)

    @abstractmethod
    def factors(self, strength: float) -> tuple[F32, F32]:
        """Return ``left`` and ``right``, (n_items, width) each, at a strength of the ridge, above 0.

        What having item i adds to the score of item j is ``left[i] . right[j]``.

        Raises:
            numpy.linalg.LinAlgError: the strength is too small for the precision.
        """

    def _leading(
        self, through: Callable[[F32], F32], square: Callable[[F32], F32], k: int
    ) -> tuple[F32, F32]:
        """Return the k first eigenvalues (k,), descending, and eigenvectors (n_items, k), of A'A.

        Args:
            through: from x (n_items, n) to A'(A x).
            square: from x to (A x)'(A x).
            k: at most the number of items.
        """
        n_items = self.rows.shape[1]
        drawn = np.random.default_rng(self.seed).standard_normal(
            (n_items, min(k + SPARE, n_items)), np.float32
        )
        for _ in range(ROUNDS):
            drawn, _ = qr(through(drawn), mode="economic", overwrite_a=True, check_finite=False)
        values, axes = np.linalg.eigh(square(drawn).astype(np.float64))
        first = slice(-1, -k - 1, -1)
        return values[first].astype(np.float32), drawn @ axes[:, first].astype(np.float32)

    def _padded(self, factor: F32) -> F32:
        """Return a factor with columns of 0 after its own."""
        if factor.shape[1] == self.width:
            return factor
        padded = np.zeros((len(factor), self.width), np.float32)
        padded[:, : factor.shape[1]] = factor
        return padded


class WholeMatrix(ItemMatrix):
    """Solves for the whole matrix; see the module."""

    def __init__(self, rows: GradeRows, width: int, seed: int) -> None:
        super().__init__(rows, width, seed)
        self.gram = rows.gram(np.float32 if rows.shape[1] >= SINGLE_FROM else np.float64)

    def factors(self, strength: float) -> tuple[F32, F32]:
        """Return the factors; see `ItemMatrix`."""
        whole = self.weights(strength).astype(np.float32, copy=False)
        _, right = self._leading(
            lambda x: whole.T @ self.rows.through(whole @ x),
            lambda x: self.rows.square(whole @ x),
            min(self.width, len(whole)),
        )
        return self._padded(whole @ right), self._padded(right)

    def weights(self, strength: float) -> NDArray[np.floating]:
        """Return B, (n_items, n_items)."""
        gram = self.gram.copy()
        gram[np.diag_indices_from(gram)] += (strength * self.unit).astype(gram.dtype)
        return zero_diagonal_ridge(gram)


class SpectralMatrix(ItemMatrix):
    """Solves for the factors from the first eigenvectors; see the module."""

    def __init__(self, rows: GradeRows, width: int, seed: int) -> None:
        super().__init__(rows, width, seed)
        self.scale = (1.0 / np.sqrt(self.unit)).astype(np.float32)  # r^-1/2 at strength 1
        self.values, self.vectors = self._leading(
            lambda x: rows.through(x, self.scale),
            lambda x: rows.square(x, self.scale),
            min(width, *rows.shape),
        )

    def factors(self, strength: float) -> tuple[F32, F32]:
        """Return the factors; see `ItemMatrix`."""
        shares = self.values / (self.values + np.float32(strength))  # (k,)
        left = self.scale[:, None] * (self.vectors * shares)
        # the inverse's diagonal, without the scale that both factors share
        diagonal = 1.0 - (np.square(self.vectors) @ shares)
        right = self.vectors / (self.scale * np.maximum(diagonal, 1e-6))[:, None]
        return self._padded(left), self._padded(right)
