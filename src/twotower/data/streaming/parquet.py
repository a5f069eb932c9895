"""Parquet files, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from twotower.data.checks import require_columns
from twotower.data.reading import Reading, damaged, parquet_schema, schema_of
from twotower.data.remote import Location
from twotower.data.streaming.asked import Casts
from twotower.data.streaming.cell_facts import Typing
from twotower.data.table_parts import has_long


class ParquetBlocks:
    """A Parquet file whose columns are read block by block, as `pl.read_parquet` reads them at once.

    Args:
        path: the file.
        how: dtypes as in `read_table`.
        rows: the most rows of a block.
    """

    def __init__(self, path: Location, how: Reading, rows: int) -> None:
        self._path, self._how, self._rows = path, how, rows
        opened = _opened(path)
        self._footer = opened.metadata
        self._schema = parquet_schema(path) if isinstance(path, Path) else schema_of(opened.schema_arrow)

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self._schema)

    def scan(self, columns: Sequence[str] | None) -> int:
        """Choose the columns to read, and return the number of rows, which the footer states."""
        self.columns = list(self._schema if columns is None else columns)
        require_columns(list(self._schema), self.columns, str(self._path))
        return int(self._footer.num_rows)

    def typing(self, name: str) -> Typing:
        """Return the dtype of a column if the table is this file alone."""
        asked = self._how.dtypes.get(name)
        return Typing(self._schema[name] if asked is None else pl.Series([], dtype=asked).dtype)

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""
        return self._schema[name].is_integer() and any(has_long(values) for values in self._values(name))

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes.

        Raises:
            DataError: a value is not of a dtype that was asked for, or the file is damaged.
        """
        schema = {name: self._schema[name] for name in typings}
        casts = Casts(str(self._path), schema, self._how, self._values)
        start = 0
        for frame in self._read(list(typings)):
            yield casts.typed(frame, typings, start)
            start += frame.height

    def _values(self, name: str) -> Iterator[pl.Series]:
        return (frame.get_column(name) for frame in self._read([name]))

    def _read(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        import pyarrow as pa  # noqa: PLC0415 (a third of a second)

        types = {name: self._schema[name] for name in columns}
        kept: list[pl.DataFrame] = []  # row groups may be smaller than blocks
        try:
            for batch in _opened(self._path, self._footer).iter_batches(
                batch_size=self._rows, columns=columns
            ):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                frame = frame.select(columns).cast(types)  # type: ignore[arg-type]
                if kept and sum(one.height for one in kept) + frame.height > self._rows:
                    yield pl.concat(kept)
                    kept = []
                kept.append(frame)
        except pa.ArrowException as error:
            raise damaged(self._path, error) from None
        if kept:
            yield pl.concat(kept)


def parquet_rows(path: Location) -> int:
    """Return the number of rows that the footer of a file states."""
    return int(_opened(path).metadata.num_rows)


def _opened(path: Location, footer: Any = None) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        if isinstance(path, Path):
            return pq.ParquetFile(path, metadata=footer, buffer_size=1 << 20)
        return pq.ParquetFile(path.ranges(), metadata=footer, buffer_size=1 << 23)
    except pa.ArrowException as error:
        raise damaged(path, error) from None
