"""Parquet files, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from twotower.data.reading import damaged, parquet_schema
from twotower.data.table_files import TableFile


def parquet_rows(file: TableFile) -> int:
    """Return the number of rows that the footer of a file states."""
    return int(_opened(file).metadata.num_rows)


def parquet_blocks(file: TableFile, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
    """Yield some columns of a file, at most ``rows`` rows at a time, in the dtypes of `pl.read_parquet`.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415 (a third of a second)

    schema = parquet_schema(file.path)
    try:
        for batch in _opened(file).iter_batches(batch_size=rows, columns=list(columns)):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame.select(columns).cast({name: schema[name] for name in columns})
    except (pa.ArrowException, OSError) as error:
        raise damaged(file.path, error) from None


def _opened(file: TableFile):  # type: ignore[no-untyped-def]
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.ParquetFile(file.path, buffer_size=1 << 20, pre_buffer=False)
    except pa.ArrowException as error:
        raise damaged(file.path, error) from None
