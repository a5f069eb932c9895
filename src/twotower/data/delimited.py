"""CSV and TSV files: read by Polars, as strings if the dtypes can't be told; then each column by its values.

Lines end in LF, CR LF, or (where a file has no LF) CR; any other CR is text (four of KuaiRec's captions
contain one), except that Polars drops one at the end of a field without quotes. Polars also pads short rows
with nulls, and truncates long ones if it reads only some columns, so the number of fields is checked here. It
also lets a quote in the middle of a field begin a quoted one; files with such quotes are read by
`twotower.data.quotes`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import polars as pl
from polars.exceptions import NoDataError, PolarsError

from twotower.core.where import shown
from twotower.data.cells import by_values, converted, unpadded, without_spaces
from twotower.data.checks import require_columns
from twotower.data.csv_fields import fields_of, long_fields
from twotower.data.header import Header, find_header
from twotower.data.quotes import Marks, all_whole, marks, quoted_numbers, read_odd_quotes
from twotower.data.raw_text import UTF8, EmptyTable, RawText, raw_text
from twotower.data.remote import Location
from twotower.errors import DataError

_SAMPLE = 10_000
"""Rows from which the dtypes are guessed; if a later row contradicts the guess, all are read as strings."""
Dtypes = Mapping[str, "pl.DataType | type[pl.DataType]"]


@cache
def _first() -> int:
    """Return the number of Polars' first column of a file without a header: 0 or 1, by version."""
    return int(pl.read_csv(b"1", has_header=False).columns[0].removeprefix("column_"))


SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "", ".dat": ""}
"""Separators by suffix. For .txt and .dat files, and if the header does not contain the usual one, the most
frequent common separator is used."""


def read_delimited(
    path: Location,
    suffix: str,
    columns: Sequence[str] | None,
    dtypes: Dtypes,
    *,
    names: Sequence[str] | None = None,
    encoding: str = UTF8,
    ids: Sequence[str] = (),
) -> pl.DataFrame:
    """Read columns of a CSV or TSV file, plain or compressed.

    If any whole number of a column is written as a code (``007``, ``+7``, more than 63 bits), the column is
    read as strings.

    Spaces around names are stripped. Spaces around values are stripped if the name had some, if every value
    of the column has some, or if all values are numbers without them. A last column without a name and values
    (separators at line ends) is left out; any other unnamed column is called ``Unnamed: 0`` by its position.

    Args:
        path: the file.
        suffix: its type, a key of `SEPARATORS`.
        columns: names to read, in the order wanted; none for all.
        dtypes: of some of the columns; the others become Int64, Float64, Boolean or String by their values.
        names: of all columns, for a file without a header; a first line that repeats them is taken as a
            header.
        encoding: of the characters.
        ids: columns of ids, which also become strings if any number is in quotes, or written like ``1e5``.

    Raises:
        DataError: the file is empty, of another encoding, ragged or without a header, lacks a column, or has
            a value of the wrong dtype; the message says where.
    """
    file = _delimited_text(path, suffix, names, encoding)
    present = file.header.named
    wanted = list(present if columns is None else columns)
    require_columns(present, wanted, str(path))
    found = marks(file.text, file.header.separator)
    known = [name for name in ids if name in wanted and name not in dtypes]
    quoted = (
        quoted_numbers(file.text, file.header.separator) if found.quotes and not found.odd and known else ()
    )
    given = {**dtypes, **{name: pl.String for name in known if present.index(name) in quoted}}
    cells = (
        read_odd_quotes(file.text, file.header, wanted)
        if found.odd
        else _fields(file, wanted, found, given, known)
    )
    if not cells.height:
        raise _no_rows(path)
    if columns is None and file.header.unnamed_last and not cells.get_column(present[-1]).count():
        cells = cells.drop(present[-1])
    return cells.with_columns(
        _typed(file, column, given, is_id=column.name in known)
        for column in cells
        if column.dtype == pl.String
    )


def header_names(
    path: Location, suffix: str, names: Sequence[str] | None = None, encoding: str = UTF8
) -> list[str]:
    """Return the names of the columns; the arguments are those of `read_delimited`."""
    return _delimited_text(path, suffix, names, encoding, head=True).header.names


@dataclass(frozen=True)
class DelimitedText:
    """A delimited file whose header has been read."""

    text: RawText
    header: Header

    @property
    def path(self) -> Location:
        """The file."""
        return self.text.path

    def parsed(self, wanted: Sequence[str], found: Marks, dtypes: Dtypes, ids: Sequence[str]) -> pl.DataFrame:
        """Read columns with blank lines, null where a field is empty; all quotes are in valid places.

        Columns of numbers, and flags, have their dtype already if no field looks like a code, except those of
        ``dtypes``, which are strings.
        """
        frame = None
        if not found.coded:
            read = self._read_with(wanted, found.quotes > 0)
            strings = {name: pl.String for name in read if name in dtypes or name not in wanted}
            with suppress(PolarsError):  # a row contradicts the first ones
                frame = self._fields(wanted, found.quotes > 0, strings, infer_schema_length=_SAMPLE)
                if (
                    pl.Int128 in frame.dtypes
                    or any(frame.schema[name].is_float() for name in ids if name in frame.columns)
                    or not all(cells.is_finite().all() for cells in frame if cells.dtype.is_float())
                ):
                    frame = None  # long numbers, ids like 1e5 and words like nan are kept as written
        if frame is None or frame.width != len(self._read_with(wanted, found.quotes > 0)):
            frame = self.strings(wanted, quotes=found.quotes > 0)
        return frame

    def strings(self, wanted: Sequence[str], *, quotes: bool, types: Dtypes | None = None) -> pl.DataFrame:
        """Read columns as strings, some in other dtypes if all their values have these."""
        for given in [types, None] if types else [None]:
            try:
                frame = self._fields(wanted, quotes, given or {}, infer_schema=False)
                break
            except NoDataError:
                raise _no_rows(self.path) from None
            except PolarsError as error:
                if given is None:
                    raise self.damage(str(error)) from None
        if frame.width != len(self._read_with(wanted, quotes)):
            raise self.damage("its rows are longer than its header")
        return frame

    def perhaps_lone_quotes(self, found: Marks, height: int) -> bool:
        """Return whether a field is over two lines, or two lines each have a lone quote."""
        width = self.header.width
        whole = found.separators == found.lines * (width - 1)
        return found.quotes > 0 and whole and width > 1 and height + self.header.skip < found.lines

    def without_blank_lines(self, frame: pl.DataFrame, found: Marks) -> pl.DataFrame:
        """Return what `parsed` read without blank lines, after checking that the others have all fields."""
        header, last = self.header, self.header.named[-1]
        short = last not in frame.columns or frame.get_column(last).null_count() > 0  # perhaps
        if found.quotes:
            suspect = short
        else:
            own = header.lines if header.skip else 0
            suspect = found.separators != (frame.height + own) * (header.width - 1)
            suspect = suspect or (short and not all_whole(self.text, header))
        if suspect and frame.height:
            return frame.filter(pl.Series(self.rows_not_blank(frame.height)))
        return frame

    def _read_with(self, wanted: Sequence[str], quotes: bool) -> list[str]:
        # Without quotes the separators show whether the file is regular, so only the wanted columns are read.
        # With quotes Polars must parse every field.
        return [name for name in self.header.named if quotes or name in wanted]

    def _fields(self, wanted: Sequence[str], quotes: bool, types: Dtypes, **how: Any) -> pl.DataFrame:
        named = self.header.named
        read = [place for place, name in enumerate(named) if quotes or name in wanted]
        frame = pl.read_csv(
            self.text.source,
            has_header=False,
            skip_lines=self.header.skip,
            columns=None if quotes else read,
            separator=self.header.separator,
            quote_char='"' if quotes else None,
            schema_overrides={f"column_{named.index(name) + _first()}": of for name, of in types.items()},
            glob=False,
            **how,
        )
        if frame.width > len(read):
            return frame
        names = [named[place] for place in read][: frame.width]  # fewer if all rows are short
        return frame.rename(dict(zip(frame.columns, names, strict=True)))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the fields of each row below the header, blank lines included."""
        with long_fields(), self.text.open() as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="\n")
            # The csv module refuses a bare CR; only the number of fields matters here.
            lines = (line.replace("\r", "") for line in text)
            for _ in range(self.header.skip):
                next(lines, None)
            reader = csv.reader(lines, delimiter=self.header.separator)
            start = 1
            for fields in reader:
                yield self.text.above + self.header.skip + start, fields
                start = reader.line_num + 1

    def rows_not_blank(self, height: int) -> list[bool]:
        """Return which rows are not blank lines, after checking that those have all fields."""
        keep = []
        for line, fields in self.rows():
            if fields and len(fields) != self.header.width:
                raise self.header.ragged(self.path, line, fields)
            keep.append(bool(fields) or self.header.width == 1)
        return keep if len(keep) == height else [True] * height

    def line_of(self, row: int) -> int:
        """Return the line number of a data row counted from 0."""
        lines = (line for line, fields in self.rows() if fields or self.header.width == 1)
        for place, line in enumerate(lines):
            if place == row:
                return line
        return self.text.above + row + self.header.skip + 1

    def damage(self, reason: str) -> DataError:
        """Find out what is wrong with a file that can't be parsed at all."""
        with self.text.open() as stream:
            for number, data in enumerate(stream, 1):
                try:
                    data.decode()
                except UnicodeDecodeError as error:
                    return self._not_utf8(number, data, error)
        try:
            read_odd_quotes(self.text, self.header, ())
        except DataError as error:
            return error
        return DataError(f"{self.path} can't be read as a table: {reason.splitlines()[0]}. Check the file.")

    def _not_utf8(self, line: int, data: bytes, error: UnicodeDecodeError) -> DataError:
        start = data[: error.start].decode("latin-1").replace("\r", " ")
        before = fields_of(start, self.header.separator)
        place = max(len(before) - 1, 0)
        column = self.header.named[place] if line > self.header.skip and place < self.header.width else None
        where = f", column '{column}'," if column is not None else ","
        return DataError(
            f"tables are read as UTF-8: {self.path}, line {line + self.text.above:,}{where} has the invalid "
            f"byte 0x{data[error.start]:02x} at {error.start + 1}. Set [data] encoding (for example "
            "latin-1, or for one table { users = 'latin-1' }), or save the file as UTF-8."
        )


def _delimited_text(
    path: Location, suffix: str, names: Sequence[str] | None, encoding: str, *, head: bool = False
) -> DelimitedText:
    text = raw_text(path, encoding, head=head)
    header = find_header(text, SEPARATORS[suffix], names)
    if header is None:  # lines end in CR alone
        with text.open() as stream:
            content = stream.read()
        text = replace(text, content=content.replace(b"\r", b"\n"))
        header = find_header(text, SEPARATORS[suffix], names)
        assert header is not None
    return DelimitedText(text, header)


def _fields(
    file: DelimitedText, wanted: Sequence[str], found: Marks, dtypes: Dtypes, ids: Sequence[str]
) -> pl.DataFrame:
    """Read columns without blank lines, null where a field is empty; all quotes are in valid places."""
    frame = file.parsed(wanted, found, dtypes, ids)
    if file.perhaps_lone_quotes(found, frame.height):
        read_odd_quotes(file.text, file.header, ())
    return file.without_blank_lines(frame, found).select(wanted)


def _typed(file: DelimitedText, cells: pl.Series, dtypes: Dtypes, *, is_id: bool) -> pl.Series:
    """Return a column of strings in its dtype, or in that of its values."""
    padded_name = cells.name in file.header.padded
    if cells.name not in dtypes:
        return by_values(cells, padded_name, ids=is_id)
    if dtypes[cells.name] == pl.String:
        return unpadded(cells, padded_name, typed=True)
    return convert_cells(file, cells, dtypes[cells.name])


def convert_cells(
    file: DelimitedText, cells: pl.Series, dtype: pl.DataType | type[pl.DataType], start: int = 0
) -> pl.Series:
    """Return a column of strings, from data row ``start`` on, in a dtype; or name the value that can't be
    converted."""
    name, values = cells.name, without_spaces(cells)
    try:
        found = converted(values, dtype)
    except PolarsError:
        raise DataError(
            f"column '{name}' of {file.path} can't be read as {dtype}; read it as a string"
        ) from None
    wrong = found.is_null() & values.is_not_null()
    if wrong.any():
        row = wrong.arg_max() or 0
        raise DataError(
            f"column '{name}' must be {dtype}: {file.path}, line {file.line_of(row + start):,}, has "
            f"{shown(cells[row])}. Correct the value, or choose another type for the column."
        )
    return found


def _no_rows(path: Location) -> EmptyTable:
    return EmptyTable(f"a table needs at least one row, and {path} has only a header. Check the file.")
