"""Delimited files, block by block: one pass tells the dtypes of the columns, another reads them."""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, cast

import polars as pl

from twotower.data.checks import require_columns
from twotower.data.delimited import SEPARATORS, DelimitedText, convert_cells
from twotower.data.header import find_header
from twotower.data.quotes import Marks, marks, odd_blocks, quoted_numbers, read_odd_quotes
from twotower.data.raw_text import HEAD, RawText
from twotower.data.reading import Reading
from twotower.data.streaming.cell_facts import CellFacts, Typing
from twotower.data.streaming.row_blocks import OddQuotes, row_blocks

_BLANK = re.compile(rb"(?:\r*\n)+")


@dataclass
class _Scan:
    """What the first pass over a file found out.

    Attributes:
        columns: what is known of each column that is read.
        rows: number of rows.
        quotes: whether there are quotes.
        odd: whether a quote is in an invalid place.
        blank: whether there are blank lines.
        quoted: columns of ids that have numbers in quotes.
    """

    columns: dict[str, CellFacts]
    rows: int = 0
    quotes: bool = False
    odd: bool = False
    blank: bool = False
    quoted: set[str] = field(default_factory=set)


class DelimitedBlocks:
    """A delimited file whose columns are read block by block, as `read_delimited` reads them at once.

    Args:
        text: the text, opened as a stream.
        suffix: its type, a key of `SEPARATORS`.
        how: dtypes, names and ids as in `read_delimited`.
        rows: the most rows of a block.
    """

    def __init__(self, text: RawText, suffix: str, how: Reading, rows: int) -> None:
        self._how, self._rows = how, rows
        with text.open() as stream:
            content = stream.read(HEAD)
        whole = content if len(content) < HEAD else content[: content.rfind(b"\n") + 1] or content
        head = RawText(text.path, whole)
        header = find_header(head, SEPARATORS[suffix], how.names)
        if header is None:  # lines end in CR alone
            opened = text.open
            text = replace(text, opener=lambda: cast(IO[bytes], io.BufferedReader(_LineEnds(opened()))))
            head = RawText(text.path, whole.replace(b"\r", b"\n"))
            header = find_header(head, SEPARATORS[suffix], how.names)
            assert header is not None
        self._text, self.header = text, header
        self._blocks_have = replace(header, skip=0)

    def scan(self, columns: Sequence[str] | None) -> int:
        """Read the file once, and return its number of rows.

        Args:
            columns: names of the columns to read; None for all.

        Raises:
            DataError: as `read_delimited`, except for values that are not of a dtype that was asked for.
        """
        wanted = list(self.header.named if columns is None else columns)
        require_columns(self.header.named, wanted, str(self._text.path))
        try:
            self._scan = self._scanned(wanted)
        except OddQuotes:
            self._scan = _Scan({name: CellFacts() for name in wanted}, quotes=True, odd=True)
            for frame in odd_blocks(self._text, self.header, wanted, self._rows):
                self._add(self._scan, frame)
        last = self.header.named[-1]
        if columns is None and self.header.unnamed_last and not self._scan.columns[last].raw.known:
            del self._scan.columns[last]
        return self._scan.rows

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return self.header.names

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read."""
        return list(self._scan.columns)

    def facts(self, name: str) -> CellFacts:
        """Return what is known of a column when it is read as text."""
        return self._scan.columns[name].unpadded(name in self.header.padded)

    def typing(self, name: str) -> Typing:
        """Return how a column is read if the table is this file alone."""
        facts, padded = self._scan.columns[name], name in self.header.padded
        asked = self._how.dtypes.get(name)
        if asked is not None and asked != pl.String:
            return Typing(pl.Series([], dtype=asked).dtype)
        if asked is not None or name in self._scan.quoted:
            return facts.as_text(padded)
        return facts.by_values(padded, ids=name in self._how.ids)

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""
        facts = self._scan.columns[name]
        return facts.raw.long or facts.stripped.long

    def as_text(self, name: str, typing: Typing) -> Typing:
        """Return a typing of text that `facts` describes as one of the column as it is in the file."""
        return replace(
            typing, strip=typing.strip or self._scan.columns[name].as_text(name in self.header.padded).strip
        )

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes, after `scan`.

        Raises:
            DataError: a value is not of a dtype that was asked for.
        """
        for file, start, cells in self._cells(typings):
            yield cells.select(
                convert_cells(file, column, typing.dtype, start)
                if column.name in self._how.dtypes and column.dtype == pl.String != typing.dtype
                else typing.read(column)
                for column, typing in ((cells.get_column(name), one) for name, one in typings.items())
            )

    def _cells(self, typings: Mapping[str, Typing]) -> Iterator[tuple[DelimitedText, int, pl.DataFrame]]:
        """Yield blocks of cells, the text that each is from, and the number of its first row there."""
        wanted = list(typings)
        if self._scan.odd:
            whole, start = DelimitedText(self._text, self.header), 0
            for frame in odd_blocks(self._text, self.header, wanted, self._rows):
                yield whole, start, frame
                start += frame.height
            return
        types: dict[str, pl.DataType | type[pl.DataType]] = {
            name: one.dtype
            for name, one in typings.items()
            if not one.strip and one.dtype in (pl.Int64, pl.Float64) and name not in self._how.dtypes
        }
        for file, _ in self._files(quotes=self._scan.quotes):
            if file is None:
                continue
            frame = file.strings(wanted, quotes=self._scan.quotes, types=types)
            if self._scan.blank:
                frame = file.without_blank_lines(frame, marks(file.text, self.header.separator))
            if frame.height:
                yield file, 0, frame.select(wanted)

    def _files(self, *, quotes: bool) -> Iterator[tuple[DelimitedText | None, int]]:
        """Yield blocks of rows as files of their own, and how many blank lines above them are left out."""
        header = self.header
        for block in row_blocks(self._text, header.skip, self._rows, header.separator, quotes=quotes):
            content, blank = block.content or b"", 0
            found = _BLANK.match(content) if header.width > 1 else None
            if found is not None:  # the first line of a block tells Polars the number of columns
                content, blank = content[found.end() :], found[0].count(b"\n")
            if content.startswith(BOM_UTF8) and block.above > header.skip:  # not that of the file
                content = BOM_UTF8 + content
            text = RawText(block.path, content, block.above + blank)
            yield DelimitedText(text, self._blocks_have) if content else None, blank

    def _scanned(self, wanted: list[str]) -> _Scan:
        header, how = self.header, self._how
        scan = _Scan({name: CellFacts() for name in wanted})
        known = [name for name in how.ids if name in wanted and name not in how.dtypes]
        first = self._head()
        if first.odd:
            raise OddQuotes
        quotes, separators, lines, height = first.quotes, first.separators, header.skip, 0
        for file, blank in self._files(quotes=True):
            lines, height = lines + blank, height + blank
            if file is None:
                continue
            found = marks(file.text, header.separator)
            if found.odd:
                raise OddQuotes
            quotes, separators, lines = (
                quotes + found.quotes,
                separators + found.separators,
                lines + found.lines,
            )
            if found.quotes and known:
                places = quoted_numbers(file.text, header.separator)
                scan.quoted |= {name for name in known if header.named.index(name) in places}
            frame = file.parsed(wanted, found, how.dtypes, known)
            height += frame.height
            kept = file.without_blank_lines(frame, found)
            scan.blank = scan.blank or kept.height < frame.height
            self._add(scan, kept)
        whole = Marks(quotes, separators, lines, odd=False, coded=False)
        if DelimitedText(self._text, header).perhaps_lone_quotes(whole, height):
            read_odd_quotes(self._text, header, ())
        scan.quotes = quotes > 0
        return scan

    def _head(self) -> Marks:
        with self._text.open() as stream:
            lines = b"".join(stream.readline() for _ in range(self.header.skip))
        return marks(RawText(self._text.path, lines), self.header.separator)

    def _add(self, scan: _Scan, frame: pl.DataFrame) -> None:
        scan.rows += frame.height
        for name, facts in scan.columns.items():
            if self._how.dtypes.get(name, pl.String) == pl.String:
                facts.add(frame.get_column(name))


class _LineEnds(io.RawIOBase):
    """A text whose lines end in CR, as one whose lines end in LF."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
