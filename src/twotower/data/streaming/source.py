"""`TableSource`: the files of a table, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import polars as pl

from twotower.core.forking import check_process
from twotower.core.urls import without_secrets
from twotower.data.delimited import Dtypes
from twotower.data.raw_text import UTF8, EmptyTable, reading_errors
from twotower.data.reading import Reading, names_in, suffix_of
from twotower.data.streaming.cell_facts import CellFacts, Typing
from twotower.data.streaming.file_blocks import FileBlocks
from twotower.data.streaming.parquet import parquet_rows
from twotower.data.table_files import PARQUET, TableFile, files_of_table
from twotower.data.table_parts import (
    clash,
    common_columns,
    concatenated,
    family,
    no_file_has_rows,
    with_partition_types,
)

ROWS = 1_000_000
"""The most rows of a batch."""


_REQUESTS = 8
"""How many files at addresses are looked at at the same time."""


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
        path: a file, a folder or a pattern, perhaps at an address such as ``s3://bucket/events``.
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
        check_process()
        self.path = without_secrets(str(path))
        self.files: list[TableFile] = files_of_table(path)
        self.how = Reading(dtypes or {}, names, encoding, ids)

    def names(self) -> list[str]:
        """Return the names of the columns: those in any of the files."""
        return list(dict.fromkeys(name for file in self.files for name in names_in(file, self.how)))

    def rows(self) -> int | None:
        """Return the number of rows if the files state it, as Parquet files do; else None."""
        if any(suffix_of(file) not in PARQUET for file in self.files):
            return None
        return sum(parquet_rows(file.path) for file in self.files)

    def bytes(self) -> int:
        """Return the size of the files; a `DataError` if one is missing, or a link to nothing."""
        total = 0
        for file in self.files:
            with reading_errors(file.path):
                total += file.path.stat().st_size
        return total

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[Batch]:
        """Yield the rows in the order of `read_table`, all batches with the same columns and dtypes.

        Args:
            columns: names of the columns to read, in this order; None for all.
            rows: the most rows of a batch.

        Raises:
            DataError: as `read_table`.
        """
        wanted = None if columns is None else list(dict.fromkeys(columns))
        files = self._opened(wanted, rows)
        typings, schema = self._common(files)
        for file, own in zip(files, typings, strict=True):
            first = 0
            for frame in file.frames(own):
                yield Batch(frame.cast(schema), str(file.file.path), first)
                first += frame.height

    def _opened(self, columns: list[str] | None, rows: int) -> list[FileBlocks]:
        """Return the files that have rows."""
        if len(self.files) == 1:
            return [FileBlocks(self.files[0], columns, self.how, rows)]
        wanted = common_columns(self.files, self.how) if columns is None else columns

        def opened(file: TableFile) -> FileBlocks | None:
            with suppress(EmptyTable):
                return FileBlocks(file, wanted, self.how, rows)
            return None

        if isinstance(self.files[0].path, Path):
            found = [one for file in self.files if (one := opened(file)) is not None]
        else:  # most of the time is waiting for the server
            with ThreadPoolExecutor(_REQUESTS) as threads:
                found = [one for one in threads.map(opened, self.files) if one is not None]
        if not found:
            raise no_file_has_rows(self.path, self.files)
        return found

    def _common(self, files: Sequence[FileBlocks]) -> tuple[list[dict[str, Typing]], pl.Schema]:
        """Return how the columns of each file are read, and the dtypes of the table."""
        columns = files[0].columns
        typings = [{name: file.typing(name) for name in columns} for file in files]
        for name in columns if len(files) > 1 else ():
            if not _differ(name, files, [of[name].dtype for of in typings]):
                continue
            if not all(file.text for file in files) or name in self.how.dtypes:
                heads = [next(file.frames({name: of[name]})) for file, of in zip(files, typings, strict=True)]
                raise clash(name, [file.file for file in files], heads)
            facts = reduce(CellFacts.merged, (file.facts(name) for file in files))
            final = facts.by_values(ids=name in self.how.ids)
            for file, of in zip(files, typings, strict=True):
                of[name] = file.as_text(name, final)
        empty = [pl.DataFrame(schema={name: one.dtype for name, one in of.items()}) for of in typings]
        whole = concatenated(self.path, empty) if len(self.files) > 1 else empty[0]
        return typings, with_partition_types(whole, [file.file for file in files], self.how).schema


def _differ(name: str, files: Sequence[FileBlocks], dtypes: Sequence[pl.DataType]) -> bool:
    """Return whether the values of a column can't be concatenated unchanged, as in `read_parts`."""
    known = [dtype for dtype in dtypes if dtype != pl.Null]
    if len({family(dtype) for dtype in known}) > 1:
        return True
    return any(dtype.is_float() for dtype in known) and any(
        dtype.is_integer() and file.has_long(name) for file, dtype in zip(files, dtypes, strict=True)
    )
