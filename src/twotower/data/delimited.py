"""CSV and TSV files: a fast strict path, and slower ones for unusual files and for finding the line of an
error.

Lines end in LF, CR LF, or (where a file has no LF) CR; any other CR is text (four of KuaiRec's captions
contain one). Polars pads short rows with nulls, and truncates long ones if it reads only some columns, so the
number of fields is checked here. It also lets a quote in the middle of a field begin a quoted one; files with
such quotes are read by `twotower.data.odd_quotes`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import NoDataError, PolarsError

from twotower.core.where import shown
from twotower.core.wording import count_of
from twotower.data.cells import CODE, converted, narrowed, unpadded, whole_ids
from twotower.data.checks import require_columns
from twotower.data.header import Header, find_header
from twotower.data.odd_quotes import long_fields, read_odd_quotes
from twotower.data.quoted_numbers import quoted_numbers
from twotower.data.raw_text import UTF8, EmptyTable, RawText, raw_text
from twotower.errors import DataError

Dtypes = Mapping[str, "pl.DataType | type[pl.DataType]"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "", ".dat": ""}
"""Separators by suffix. For .txt and .dat files, and if the header does not contain the usual one, the most
frequent common separator is used."""

_SAMPLE = 10_000
"""Rows from which the dtypes are guessed; if a later row contradicts the guess, all rows are checked."""
_BLOCK = 1 << 22
_POWER = r"[eE]|^\s*(?:\+|-?0)\d|^-0(?:\.0*)?$|\d{16,}"
"""A number that is an id and would be written back differently."""
_QUOTE = ord('"')
_FIRST = int(pl.read_csv(b"1", has_header=False).columns[0].removeprefix("column_"))
"""Polars' name of the first column of a file without a header; it depends on the version."""


def read_delimited(
    path: Path,
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
    file = _file(path, suffix, names, encoding)
    present = file.header.named
    wanted = list(present if columns is None else columns)
    require_columns(present, wanted, str(path))
    given = {name: dtype for name, dtype in dtypes.items() if name in wanted}
    counts = file.count()
    known = [name for name in ids if name in wanted and name not in given]
    if counts.quotes and not counts.odd and known:
        quoted = quoted_numbers(file.text, file.header.separator)
        given |= {name: pl.String for name in known if present.index(name) in quoted}
    if counts.odd:
        strings = read_odd_quotes(file.text, file.header, wanted)
        frame = pl.DataFrame([_typed(file, strings.get_column(name), given) for name in wanted])
    else:
        frame = _read_fast(file, wanted, given, counts)
        fractions = [name for name in known if frame.schema[name].is_float()]
        written = _as_written(file, fractions, counts, _POWER, frame.height)
        frame = frame.with_columns(whole_ids(column) for column in written)
    if not frame.height:
        raise _no_rows(path)
    if columns is None and file.header.unnamed_last and not frame.get_column(present[-1]).count():
        frame = frame.drop(present[-1])
    padded = file.header.padded
    return frame.with_columns(
        unpadded(frame.get_column(name), name in padded, name in given or name in known)
        for name, dtype in frame.schema.items()
        if dtype == pl.String
    )


def header_names(
    path: Path, suffix: str, names: Sequence[str] | None = None, encoding: str = UTF8
) -> list[str]:
    """Return the names of the columns; the arguments are those of `read_delimited`."""
    header = _file(path, suffix, names, encoding, head=True).header
    return list(header.named[:-1] if header.unnamed_last else header.named)


@dataclass(frozen=True)
class _Counts:
    """Counts of a file: quotes, separators, line ends; whether a quote is in an invalid place, and whether a
    field begins with a plus sign, or with a zero and a digit (a code rather than a number).
    """

    quotes: int
    separators: int
    lines: int
    odd: bool
    coded: bool


@dataclass(frozen=True)
class _File:
    """A delimited file whose header has been read."""

    text: RawText
    header: Header

    @property
    def path(self) -> Path:
        return self.text.path

    def count(self) -> _Counts:
        """Count quotes and separators, and check the characters beside each quote.

        A quote that opens a field comes after a separator or a line end, one that closes it before one; two
        quotes within a field count as one that closes and one that opens.
        """
        separator = ord(self.header.separator)
        opening = np.zeros(256, dtype=np.bool_)
        opening[[separator, 10, 13, _QUOTE]] = True
        quotes = separators = lines = 0
        odd = coded = False
        before = b"\n"
        with self.text.open() as stream:
            if stream.read(3) != b"\xef\xbb\xbf":
                stream.seek(0)
            while block := stream.read(_BLOCK):
                # A quote at the end of a block needs the next byte, which is read with it.
                while block[-1] == _QUOTE and (more := stream.read(1)):
                    block += more
                codes = np.frombuffer(before + block + b"\n", dtype=np.uint8)  # a neighbour on each side
                at = np.flatnonzero(codes[1:-1] == _QUOTE) + 1
                opens = (np.arange(len(at)) + quotes) % 2 == 0
                beside = np.where(opens, codes[at - 1], codes[at + 1])
                odd = odd or not opening[beside].all()
                quotes += len(at)
                is_separator, is_end = codes[:-1] == separator, codes[:-1] == 10
                separators += int(np.count_nonzero(is_separator[1:]))
                lines += int(np.count_nonzero(is_end[1:]))
                coded = coded or _begins_coded(codes, is_separator | is_end, quotes > 0)
                before = block[-1:]
        return _Counts(quotes, separators, lines + (before != b"\n"), odd or quotes % 2 == 1, coded)

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
                yield self.header.skip + start, fields
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
        for place, (line, _) in enumerate(self.rows()):
            if place == row:
                return line
        return row + self.header.skip + 1

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
        before = next(csv.reader([start], delimiter=self.header.separator), [])
        place = max(len(before) - 1, 0)
        column = self.header.named[place] if line > self.header.skip and place < self.header.width else None
        where = f", column '{column}'," if column is not None else ","
        return DataError(
            f"tables are read as UTF-8: {self.path}, line {line:,}{where} has the invalid byte "
            f"0x{data[error.start]:02x} at {error.start + 1}. Set [data] encoding (for example latin-1), "
            "or save the file as UTF-8."
        )


def _begins_coded(codes: npt.NDArray[np.uint8], ends: npt.NDArray[np.bool_], quotes: bool) -> bool:
    """Return whether a field of a block begins with + or -0, or with a zero and a digit.

    Args:
        codes: (n,) bytes.
        ends: (n - 1,) which of them, except the last, end a field.
        quotes: whether a quote may come before it.
    """
    begins = ends | (codes[:-1] == _QUOTE) if quotes else ends
    second = codes[1:]
    zero, minus = second == ord("0"), second == ord("-")
    at = np.flatnonzero((begins & (zero | minus | (second == ord("+"))))[:-1]) + 1
    first, after, third = codes[at], codes[at + 1], codes[np.minimum(at + 2, len(codes) - 1)]
    digit = after - np.uint8(ord("0")) < 10  # values below "0" wrap around
    negative = (first == ord("-")) & (after == ord("0")) & (third != ord("."))
    return bool((((first == ord("0")) & digit) | (first == ord("+")) | negative).any())


def _file(
    path: Path, suffix: str, names: Sequence[str] | None, encoding: str, *, head: bool = False
) -> _File:
    text = raw_text(path, encoding, head=head)
    header = find_header(text, SEPARATORS[suffix], names)
    if header is None:  # lines end in CR alone
        with text.open() as stream:
            content = stream.read()
        text = replace(text, content=content.replace(b"\r", b"\n"))
        header = find_header(text, SEPARATORS[suffix], names)
        assert header is not None
    return _File(text, header)


def _read_fast(file: _File, wanted: Sequence[str], dtypes: Dtypes, counts: _Counts) -> pl.DataFrame:
    """Read with Polars; all quotes are in valid places."""
    header = file.header
    # Without quotes the number of separators shows whether the file is regular, so only the requested columns
    # are read. With quotes Polars must parse every field; other columns are read as strings.
    some = [place for place, name in enumerate(header.named) if counts.quotes or name in wanted]
    overrides = {
        f"column_{place + _FIRST}": dtypes.get(name, pl.String)
        for place, name in enumerate(header.named)
        if name in dtypes or (counts.quotes and name not in wanted)
    }
    try:
        frame = pl.read_csv(
            file.text.source,
            has_header=False,
            skip_lines=header.skip,
            columns=None if counts.quotes else some,
            separator=header.separator,
            quote_char='"' if counts.quotes else None,
            schema_overrides=overrides,
            infer_schema_length=_SAMPLE,
            glob=False,
        )
    except NoDataError:
        raise _no_rows(file.path) from None
    except PolarsError:
        frame = _read_slowly(file, wanted, dtypes)
    else:
        if frame.width != len(some):  # a row is too long
            raise file.damage("its rows are longer than its header")
        frame = frame.rename(dict(zip(frame.columns, (header.named[place] for place in some), strict=True)))
        codes = [n for n in wanted if n not in dtypes and frame.schema[n].is_integer()]
        codes = codes if counts.coded else [n for n in codes if frame.schema[n] == pl.Int128]
        frame = frame.with_columns(_as_written(file, codes, counts, CODE, frame.height))
    if counts.quotes:
        last = header.named[-1]
        suspect = last in frame.columns and frame.get_column(last).null_count() > 0
        whole = counts.separators == counts.lines * (header.width - 1)
        if whole and header.width > 1 and frame.height + header.skip < counts.lines:
            read_odd_quotes(file.text, header, ())  # a field over two lines, or two lone quotes?
    else:
        suspect = counts.separators != (frame.height + header.lines) * (header.width - 1)
    if suspect and frame.height:
        frame = frame.filter(pl.Series(file.rows_not_blank(frame.height)))
    frame = frame.select(wanted)
    late = [
        narrowed(frame.get_column(name))
        for name, dtype in frame.schema.items()
        if dtype == pl.String and name not in dtypes and not frame.get_column(name).head(_SAMPLE).count()
    ]
    return frame.with_columns(late)


def _as_written(
    file: _File, names: Sequence[str], counts: _Counts, pattern: str, height: int
) -> list[pl.Series]:
    """Return the columns, out of some columns of numbers read as strings, in which any value matches a
    pattern."""
    if not names:
        return []
    header = file.header
    places = {header.named.index(name): name for name in names}
    frame = pl.read_csv(
        file.text.source,
        has_header=False,
        skip_lines=header.skip,
        columns=list(places),
        separator=header.separator,
        quote_char='"' if counts.quotes else None,
        infer_schema=False,
        glob=False,
    )
    if frame.height != height:  # blank lines are gone already
        frame = frame.filter(pl.Series(file.rows_not_blank(frame.height)))
    cells = (column.alias(places[place]) for place, column in zip(sorted(places), frame, strict=True))
    return [column for column in cells if column.str.contains(pattern).any()]


def _read_slowly(file: _File, wanted: Sequence[str], dtypes: Dtypes) -> pl.DataFrame:
    """Read everything as strings, then convert each column to its dtype, or name the value that can't be
    converted."""
    header = file.header
    try:
        strings = pl.read_csv(
            file.text.source,
            has_header=False,
            skip_lines=header.skip,
            separator=header.separator,
            infer_schema=False,
            glob=False,
        )
    except PolarsError as error:
        raise file.damage(str(error)) from None
    if strings.width != header.width:
        raise file.damage(
            f"its rows have {count_of(strings.width, 'field')} and its header has {header.width}"
        )
    strings = strings.rename(dict(zip(strings.columns, header.named, strict=True)))
    if strings.get_column(header.named[-1]).null_count():
        strings = strings.filter(pl.Series(file.rows_not_blank(strings.height)))
    done = [_typed(file, strings.get_column(name), dtypes) for name in wanted]
    if header.named[-1] not in wanted:
        done.append(strings.get_column(header.named[-1]))
    return pl.DataFrame(done)


def _typed(file: _File, cells: pl.Series, dtypes: Dtypes) -> pl.Series:
    """Convert a column of strings to its dtype."""
    name = cells.name
    if name not in dtypes:
        return narrowed(cells)
    dtype = dtypes[name]
    try:
        found = converted(cells, dtype)
    except PolarsError:
        raise DataError(
            f"column '{name}' of {file.path} can't be read as {dtype}; read it as a string"
        ) from None
    wrong = found.is_null() & cells.is_not_null()
    if wrong.any():
        row = wrong.arg_max() or 0
        raise DataError(
            f"column '{name}' must be {dtype}: {file.path}, line {file.line_of(row):,}, has "
            f"{shown(cells[row])}. Correct the value, or choose another type for the column."
        )
    return found


def _no_rows(path: Path) -> EmptyTable:
    return EmptyTable(f"a table needs at least one row, and {path} has only a header. Check the file.")
