"""`Side`: the users or the items that a recommender knows, with their vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Ids, as_series
from twotower.core.forking import check_process
from twotower.core.reprs import ShortRepr
from twotower.core.vocabulary import Vocabulary
from twotower.errors import DataError, nearest
from twotower.kernels.layout import VectorLayout

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
PLAIN = (*_INTEGERS, pl.Float32, pl.Float64, pl.Boolean, pl.String)
"""Column types that JSON can hold."""


@dataclass(frozen=True, repr=False)
class Side(ShortRepr):
    """The users or the items that a recommender knows.

    Attributes:
        ids: their ids, one row each.
        vectors: float32 (rows, dim).
        warm: bool (rows,), whether the row has interactions in the training set.
    """

    ids: pl.Series
    vectors: NDArray[np.float32]
    warm: NDArray[np.bool_]

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the row of each id, -1 where there is none."""
        check_process()
        return Vocabulary(self.ids).rows(ids)

    def known(self, ids: Ids, what: str, fix: str = "") -> NDArray[np.int64]:
        """Return the row of each id, int64 (n,).

        Args:
            ids: any number of ids, including none; a bare string or number is one id.
            what: "user" or "item".
            fix: a hint to add to the error.

        Raises:
            DataError: an id has no row.
        """
        check_process()
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


def plain(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with columns that JSON can't hold (dates, say) converted to text."""
    return table.with_columns(
        pl.Series(column.name, [None if v is None else str(v) for v in column.to_list()], dtype=pl.String)
        for column in table
        if not _is_plain(column.dtype)
    )


def shown(table: pl.DataFrame) -> pl.DataFrame:
    """Return display columns as they are shown: `plain`, and whole numbers as integers.

    A column that is also a feature holds floats by now: a year of 1994.0 is shown as 1994.

    >>> shown(pl.DataFrame({"year": [1994.0, None], "stars": [4.5, 3.0]})).rows()
    [(1994, 4.5), (None, 3.0)]
    """
    whole = [
        name
        for name in table.columns
        if table.schema[name].is_float() and _is_whole(table.get_column(name).fill_nan(None).drop_nulls())
    ]
    return plain(table).with_columns(pl.col(whole).fill_nan(None).cast(pl.Int64))


def _is_whole(numbers: pl.Series) -> bool:
    return bool(len(numbers)) and bool(((numbers.abs() < 2**53) & (numbers.round() == numbers)).all())


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_plain(dtype.inner)  # type: ignore[arg-type]
    return dtype in PLAIN


def directions(vectors: NDArray[np.float32], layout: VectorLayout) -> NDArray[np.float32]:
    """Return vectors (n, dim) without their biases, of length 1 or 0: float32 (n, dim - 2 members)."""
    latent = layout.directions(vectors)
    length = np.linalg.norm(latent, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (latent / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
