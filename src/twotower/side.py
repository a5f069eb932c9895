"""`Side`: the users or the items that a recommender knows, with their vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.features.target import Target

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
PLAIN = (*_INTEGERS, pl.Float32, pl.Float64, pl.Boolean, pl.String)
"""Column types that JSON has words for."""


@dataclass(frozen=True)
class Side:
    """The users or the items that a recommender knows.

    Attributes:
        ids: their ids, one row each.
        vectors: float32 (rows, dim).
        warm: bool (rows,), whether the row has train interactions.
    """

    ids: pl.Series
    vectors: NDArray[np.float32]
    warm: NDArray[np.bool_]

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the row of each id, -1 where there is none."""
        known = self.ids.alias("id").to_frame().with_row_index("row")
        asked = ids.alias("id").cast(self.ids.dtype, strict=False)
        if ids.dtype.is_float():
            asked = asked.zip_with(
                asked.cast(ids.dtype, strict=False).eq_missing(ids), pl.Series([None], dtype=asked.dtype)
            )
        found = asked.to_frame().join(known, on="id", how="left", maintain_order="left").get_column("row")
        return found.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)


def plain(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with every column that JSON has no word for (dates, say) as text."""
    return table.with_columns(
        pl.Series(column.name, [None if v is None else str(v) for v in column.to_list()], dtype=pl.String)
        for column in table
        if not _is_plain(column.dtype)
    )


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_plain(dtype.inner)  # type: ignore[arg-type]
    return dtype in PLAIN


def finished(vectors: torch.Tensor, which: str, target: Target) -> NDArray[np.float32]:
    """Fold the label's mean and spread into vectors fresh from a tower: float32 (rows, dim) on the CPU."""
    done = vectors.detach().float().cpu().numpy().copy()
    if which == "users":
        done *= np.float32(target.sd)
        done[:, -2] += np.float32(target.mean)
    return done
