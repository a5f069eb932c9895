"""The three shapes of a feature column as an array: dense numbers, one code a row, a bag of codes a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dense:
    """Numbers that enter the tower as they are.

    Attributes:
        values: float32 (rows, width), scaled to about unit variance on train.
    """

    values: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)


@dataclass(frozen=True)
class Codes:
    """One embedding row a table row.

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
    """The mean of several embedding rows a table row.

    Attributes:
        indptr: int64 (rows + 1,); row r holds ``codes[indptr[r]:indptr[r + 1]]``, never none.
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
