"""Columns that a file stores in one dtype, in the dtype that is asked for, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from twotower.core.where import Where
from twotower.data.reading import Reading, are_whole, as_type
from twotower.data.streaming.cell_facts import Typing


class Casts:
    """Casts columns as `reading.cast_columns` casts whole ones.

    Args:
        source: the file, for messages.
        schema: the dtypes that are stored.
        how: has the dtypes that are asked for.
        values: yields the blocks of a column.
    """

    def __init__(
        self,
        source: str,
        schema: Mapping[str, pl.DataType],
        how: Reading,
        values: Callable[[str], Iterator[pl.Series]],
    ) -> None:
        self._source, self._asked = source, how.dtypes
        self._whole = {
            name: how.dtypes.get(name) == pl.String and dtype.is_float() and all(map(are_whole, values(name)))
            for name, dtype in schema.items()
        }

    def typed(self, frame: pl.DataFrame, typings: Mapping[str, Typing], start: int) -> pl.DataFrame:
        """Return a block, which begins at data row ``start``, in some dtypes.

        Raises:
            DataError: a value is not of the dtype that was asked for.
        """
        return frame.with_columns(
            self._cast(frame.get_column(name), typing.dtype, start)
            for name, typing in typings.items()
            if typing.dtype != frame.schema[name]
        )

    def _cast(self, values: pl.Series, dtype: pl.DataType, start: int) -> pl.Series:
        asked = self._asked.get(values.name)
        if self._whole[values.name]:
            values = values.fill_nan(None).cast(pl.Int64)
        if asked is not None and not (asked == pl.String and values.dtype.is_float()):
            values = as_type(values, asked, Where(self._source, values.name, start=start))
        return values.cast(dtype)
