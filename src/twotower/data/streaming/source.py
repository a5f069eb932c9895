"""`TableSource`: the files of a table, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from twotower.core.where import Where
from twotower.data.checks import require_columns
from twotower.data.delimited import Dtypes
from twotower.data.raw_text import UTF8, EmptyTable
from twotower.data.reading import Reading, as_type, names_in, read_file, suffix_of
from twotower.data.streaming.parquet import parquet_blocks, parquet_rows
from twotower.data.table_files import PARQUET, TableFile, files_of_table
from twotower.data.table_parts import clash, common_columns, family, has_long, with_partition_types
from twotower.data.tables import read_table
from twotower.errors import DataError

ROWS = 1_000_000
"""The most rows of a batch."""


class Batch(NamedTuple):
    """Some rows of a table.

    Attributes:
        frame: the rows.
        file: the file that they are from, for messages.
        first: the number of the first of them in that file, from 0 (`Where` takes it).
    """

    frame: pl.DataFrame
    file: str
    first: int


class TableSource:
    """A table in one or several files, read batch by batch; memory does not grow with the size of the files.

    Together the batches are what `read_table` returns for the same arguments.

    Args:
        path: a file, a folder or a pattern.
        dtypes: as in `read_table`.
        names: as in `read_table`.
        encoding: as in `read_table`.
        ids: as in `read_table`.

    Raises:
        DataError: there is no such file, no table, or files of several types.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        dtypes: Dtypes | None = None,
        names: Sequence[str] | None = None,
        encoding: str = UTF8,
        ids: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.files: list[TableFile] = files_of_table(path)
        self.how = Reading(dtypes or {}, names, encoding, ids)

    def names(self) -> list[str]:
        """Return the names of the columns: those in any of the files."""
        return list(dict.fromkeys(name for file in self.files for name in names_in(file, self.how)))

    def rows(self) -> int | None:
        """Return the number of rows if the files state it, as Parquet files do; else None."""
        if any(suffix_of(file) not in PARQUET for file in self.files):
            return None
        return sum(parquet_rows(file) for file in self.files)

    def bytes(self) -> int:
        """Return the size of the files."""
        return sum(file.path.stat().st_size for file in self.files)

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[Batch]:
        """Yield the rows in the order of `read_table`, all batches with the same columns and dtypes.

        Args:
            columns: names of the columns to read, in this order; None for all.
            rows: the most rows of a batch.

        Raises:
            DataError: as `read_table`, which finds all faults of text files before the first batch.
        """
        wanted = None if columns is None else list(dict.fromkeys(columns))
        if all(suffix_of(file) in PARQUET for file in self.files):
            yield from self._parquet(wanted, rows)
        else:
            yield from self._text(wanted, rows)

    def _text(self, columns: list[str] | None, rows: int) -> Iterator[Batch]:
        whole = read_table(
            self.path,
            columns,
            dtypes=self.how.dtypes,
            names=self.how.names,
            encoding=self.how.encoding,
            ids=self.how.ids,
        )
        start = 0
        for file in self.files:
            try:
                height = read_file(file, names_in(file, self.how)[:1], self.how).height
            except EmptyTable:
                continue
            for first in range(0, height, rows):
                yield Batch(whole.slice(start + first, min(rows, height - first)), str(file.path), first)
            start += height

    def _parquet(self, columns: list[str] | None, rows: int) -> Iterator[Batch]:
        if columns is None:
            columns = common_columns(self.files, self.how) if len(self.files) > 1 else self.names()
        for file in self.files:
            require_columns(names_in(file, self.how), columns, str(file.path))
        files = [file for file in self.files if parquet_rows(file)]
        if not files:
            raise EmptyTable(f"a table needs at least one row, and {self.path} has none. Check the file.")
        types = [self._types(file, columns) for file in files]
        schema = self._common(files, [{name: steps[-1] for name, steps in own.items()} for own in types])
        for file, own in zip(files, types, strict=True):
            first = 0
            for frame in self._frames(file, columns, rows):
                typed = frame.with_columns(
                    _through(frame.get_column(name), steps, Where(str(file.path), name, start=first))
                    for name, steps in own.items()
                )
                typed = with_partition_types(typed, files, self.how).cast(schema)
                yield Batch(typed, str(file.path), first)
                first += frame.height

    def _frames(self, file: TableFile, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        own = names_in(replace(file, partition=()), self.how)
        folders = {name: value for name, value in file.partition if name not in own}
        inside = [name for name in columns if name not in folders] or own[:1]
        for frame in parquet_blocks(file, inside, rows):
            partition = [pl.lit(value, pl.String).alias(name) for name, value in folders.items()]
            yield frame.with_columns(partition).select(columns)

    def _types(self, file: TableFile, columns: Sequence[str]) -> dict[str, list[pl.DataType]]:
        """Return the dtypes that each column of a file is cast to in turn, its own first."""
        types = {name: [dtype] for name, dtype in next(self._frames(file, columns, 1)).schema.items()}
        for name, steps in types.items():
            asked = self.how.dtypes.get(name)
            if asked is None or steps[0] == asked:
                continue
            if asked == pl.String and steps[0].is_float():  # whole numbers of a pandas column with gaps?
                frames = self._frames(file, [name], ROWS)
                values = (frame.get_column(name) for frame in frames)
                if all(bool((block == block.floor()).all()) for block in values):
                    steps.append(pl.Int64())
            steps.append(pl.Series([], dtype=asked).dtype)
        return types

    def _common(self, files: Sequence[TableFile], schemas: Sequence[dict[str, pl.DataType]]) -> pl.Schema:
        """Return the dtypes that fit all files.

        Raises:
            DataError: there are none.
        """
        columns = list(schemas[0])
        for name in columns if len(files) > 1 else ():
            known = [schema[name] for schema in schemas if schema[name] != pl.Null]
            mixed = any(dtype.is_float() for dtype in known)
            if len({family(dtype) for dtype in known}) > 1 or (
                mixed and any(self._long(file, name) for file in files)
            ):
                raise clash(name, files, [next(self._frames(file, columns, 1)) for file in files])
        empty = [pl.DataFrame(schema=schema) for schema in schemas]
        empty = [with_partition_types(frame, files, self.how) for frame in empty]
        if len(self.files) > 1:
            empty = [frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)) for frame in empty]
        try:
            return pl.concat(empty, how="vertical_relaxed").schema
        except PolarsError as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"the types in the files of {self.path} are incompatible ({reason}). Write them with one "
                "type."
            ) from None

    def _long(self, file: TableFile, name: str) -> bool:
        """Return whether a file's column has whole numbers that floats can't represent."""
        frames = self._frames(file, [name], ROWS)
        return any(has_long(frame.get_column(name)) for frame in frames)


def _through(values: pl.Series, steps: Sequence[pl.DataType], where: Where) -> pl.Series:
    """Return a column cast to some dtypes in turn, the first being its own."""
    if len(steps) == 3:
        values = values.fill_nan(None)
    for dtype in steps[1:]:
        plain = values.dtype.is_float() and dtype == pl.String  # decided by the whole column
        values = values.cast(dtype) if plain else as_type(values, dtype, where)
    return values
