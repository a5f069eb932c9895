"""`Fingerprint`: whether values, tables and matrices are what they were at another time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Fingerprint:
    """The SHA-256 of what is added, in order. It does not depend on the versions of libraries.

    >>> Fingerprint().json({"a": 1, "b": 2}).hex() == Fingerprint().json({"b": 2, "a": 1}).hex()
    True
    """

    def __init__(self) -> None:
        self._found = hashlib.sha256()

    def hex(self) -> str:
        """Return 64 hex digits."""
        return self._found.hexdigest()

    def text(self, text: str) -> Self:
        """Add a text."""
        self._found.update(text.encode())
        return self

    def json(self, value: Any) -> Self:
        """Add JSON values; the order of keys is ignored."""
        return self.text(json.dumps(value, sort_keys=True, ensure_ascii=False))

    def matrix(self, vectors: NDArray[np.float32]) -> Self:
        """Add the shape of a matrix and its numbers, the same on machines of either byte order."""
        self.text(f"float32 {vectors.shape[0]} {vectors.shape[1]}\n")
        self._found.update(np.ascontiguousarray(vectors, dtype="<f4").data)
        return self

    def table(self, name: str, table: pl.DataFrame) -> Self:
        """Add a table: names and types of the columns, values and nulls, in order."""
        self.text(f"{name} {table.height}\n")
        for column in table.get_columns():
            self.text(f"{column.name} {column.dtype}\n")
            self._values(column)
        return self

    def blocks(self, name: str, rows: int, columns: Mapping[str, Callable[[], Iterable[pl.Series]]]) -> Self:
        """Add a table whose columns of numbers or text come block by block, as `table` adds it.

        Args:
            name: of the table.
            rows: its number of rows.
            columns: by name; each gives the blocks in order, all of one type, and is asked up to three times.
        """
        self.text(f"{name} {rows}\n")
        for column, of in columns.items():
            nulls = np.zeros(rows, dtype=np.bool_)
            dtype: pl.DataType = pl.Null()
            at = 0
            for block in of():
                nulls[at : at + len(block)] = block.is_null().to_numpy()
                at, dtype = at + len(block), block.dtype
            self.text(f"{column} {dtype}\n")
            self._bytes(np.packbits(nulls))
            del nulls
            if dtype == pl.String:
                for block in of():
                    self._bytes(block.drop_nulls().str.len_bytes().cast(pl.UInt32).to_numpy())
                for block in of():
                    self.text("".join(block.drop_nulls().to_list()))
            else:
                for block in of():
                    self._bytes(
                        block.drop_nulls().cast(pl.Float64 if dtype.is_float() else pl.Int64).to_numpy()
                    )
        return self

    def _values(self, column: pl.Series) -> None:
        self._bytes(np.packbits(column.is_null().to_numpy()))
        values = column.drop_nulls()
        dtype = values.dtype
        if isinstance(dtype, (pl.List, pl.Array)):
            as_lists = values.cast(pl.List(dtype.inner))
            length = as_lists.list.len()
            self._bytes(length.cast(pl.UInt32).to_numpy())
            self._values(as_lists.filter(length > 0).explode())
        elif dtype.is_temporal():
            self._bytes(values.to_physical().to_numpy())
        elif dtype.is_numeric() or dtype == pl.Boolean:
            wide = pl.Float64 if dtype.is_float() or dtype.is_decimal() else pl.Int64
            self._bytes(values.cast(wide).to_numpy())  # a narrower number is the same number
        else:
            text = values.cast(pl.String)
            self._bytes(text.str.len_bytes().cast(pl.UInt32).to_numpy())
            self.text("".join(text.to_list()))

    def _bytes(self, values: NDArray[Any]) -> None:
        self._found.update(np.ascontiguousarray(values).data)
