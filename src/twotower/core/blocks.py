"""The three array forms of a feature column: dense numbers, one code per row, a bag of codes per row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dense:
    """Numbers that are inputs of the tower directly.

    Attributes:
        values: float32 (rows, width), scaled to about unit variance on the training set.
    """

    values: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)


@dataclass(frozen=True)
class Codes:
    """One embedding row per table row.

    Attributes:
        codes: int32 (rows,), in [0, size); 0 is "unknown", 1 is "missing".
        size: number of embedding rows.
    """

    codes: NDArray[np.int32]
    size: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.codes)


@dataclass(frozen=True)
class Bag:
    """The mean of several embedding rows per table row.

    Attributes:
        indptr: int64 (rows + 1,); row r has ``codes[indptr[r]:indptr[r + 1]]``, never empty.
        codes: int32 (entries,), in [0, size); 0 is "unknown", 1 is "missing or empty".
        size: number of embedding rows.
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.int32]
    size: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1


Block = Dense | Codes | Bag
