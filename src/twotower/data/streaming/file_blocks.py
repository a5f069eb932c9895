"""One file of a table, block by block, with the folders around it as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import polars as pl

from twotower.data.checks import require_columns
from twotower.data.json_lines import SUFFIXES as JSON
from twotower.data.raw_text import EmptyTable, reading_errors, streamed_text
from twotower.data.reading import Reading, suffix_of
from twotower.data.recbole import SUFFIXES as RECBOLE
from twotower.data.remote import RemoteFile
from twotower.data.streaming.cell_facts import TEXT, CellFacts, Typing
from twotower.data.streaming.delimited import DelimitedBlocks
from twotower.data.streaming.json_lines import JsonBlocks
from twotower.data.streaming.parquet import ParquetBlocks
from twotower.data.streaming.recbole import RecboleBlocks
from twotower.data.table_files import PARQUET, TableFile
from twotower.errors import DataError


class Blocks(Protocol):
    """The columns of a file, block by block."""

    @property
    def names(self) -> list[str]:
        """Names of all columns of the file."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read, after `scan`."""

    def scan(self, columns: Sequence[str] | None) -> int:
        """Find out what must be known of the columns before they are read; return the number of rows."""

    def typing(self, name: str) -> Typing:
        """Return how a column is read if the table is this file alone."""

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes."""


class FileBlocks:
    """A file of a table whose columns are read block by block, as `read_file` reads them at once.

    Attributes:
        file: the file.
        text: whether it is a text whose columns have the dtypes of their values.
        rows: its number of rows.
        columns: names of the columns that are read.

    Args:
        file: the file.
        columns: names of the columns to read, in this order; None for all.
        how: how to read it.
        most: the most rows of a block.

    Raises:
        EmptyTable: it has no rows.
        DataError: as `read_file`, perhaps except for values that are not of a dtype that was asked for.
    """

    def __init__(self, file: TableFile, columns: Sequence[str] | None, how: Reading, most: int) -> None:
        with reading_errors(file.path):
            self._stamp = _stamp(file)
            if isinstance(file.path, RemoteFile):
                file = replace(file, path=replace(file.path, size=self._stamp[0]))
            self.file = file
            text, blocks = _opened(file, how, most)
            own = blocks.names
            self._folders = {name: value for name, value in file.partition if name not in own}
            require_columns([*own, *self._folders], columns or (), str(file.path))
            inside = None if columns is None else [name for name in columns if name not in self._folders]
            if inside == []:  # only partitions are read; any column has their number of rows
                inside = own[:1]
                text, blocks = _opened(file, replace(how, dtypes={}), most)
            self.rows = blocks.scan(inside)
        self._text, self._blocks = text, blocks
        if not self.rows:
            has = "none" if self._text is None else "only a header"
            raise EmptyTable(f"a table needs at least one row, and {file.path} has {has}. Check the file.")
        self._inside = self._blocks.columns
        self.columns = list(columns or [*self._inside, *self._folders])
        self.text = self._text is not None

    def typing(self, name: str) -> Typing:
        """Return how a column is read if the table is this file alone; partitions are strings."""
        return TEXT if name in self._folders else self._blocks.typing(name)

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""
        return name not in self._folders and self._blocks.has_long(name)

    def facts(self, name: str) -> CellFacts:
        """Return what is known of a column of text."""
        if name in self._folders:
            facts = CellFacts()
            facts.add(pl.Series([self._folders[name]], dtype=pl.String))
            return facts
        assert self._text is not None
        return self._text.facts(name)

    def as_text(self, name: str, typing: Typing) -> Typing:
        """Return a typing of what `facts` describes as one of the column as it is in the file."""
        if name in self._folders or self._text is None:
            return typing
        return self._text.as_text(name, typing)

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes.

        Raises:
            DataError: a value is not of a dtype that was asked for, or the file has changed.
        """
        folders = [
            typings[name].read(pl.Series(name, [value], dtype=pl.String))
            for name, value in self._folders.items()
            if name in typings
        ]
        inside = {name: typings.get(name) or self._blocks.typing(name) for name in self._inside}
        rows = 0
        with reading_errors(self.file.path):
            for frame in self._blocks.frames(inside):
                rows += frame.height
                constant = [
                    pl.lit(column[0], column.dtype).alias(column.name).cast(column.dtype)
                    for column in folders
                ]
                yield frame.with_columns(constant).select(list(typings))
            if rows != self.rows or _stamp(self.file) != self._stamp:
                raise DataError(
                    f"a file must not change while it is read, and {self.file.path} has. Read it again."
                )


def _stamp(file: TableFile) -> tuple[int, int | str]:
    found = file.path.stat()
    return found.st_size, found.st_mtime_ns


def _opened(
    file: TableFile, how: Reading, most: int
) -> tuple[DelimitedBlocks | RecboleBlocks | None, Blocks]:
    suffix = suffix_of(file)
    if suffix in PARQUET:
        return None, ParquetBlocks(file.path, how, most)
    raw = streamed_text(file.path, how.encoding)
    if suffix in JSON:
        return None, JsonBlocks(raw, how, most)
    text = RecboleBlocks(raw, how, most) if suffix in RECBOLE else DelimitedBlocks(raw, suffix, how, most)
    return text, text
