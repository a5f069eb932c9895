"""Quotes in delimited files: whether all are in valid places, which columns have numbers in quotes, and files
in which some are not.

``5,the 5" disk`` has a quote that opens nothing: only one at the beginning of a field does. ``"a \\"b\\" c"``
escapes quotes with a backslash, as MySQL does. ``1, "a, b"`` has a space before a quoted field. There a lone
quote is read as text, or its line is reported.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.data.csv_fields import long_fields
from twotower.data.header import Header
from twotower.data.raw_text import RawText
from twotower.data.remote import Location
from twotower.errors import DataError

_BLOCK: Final = 1 << 18
_QUOTE, _END = ord('"'), 10
_NUMERIC: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789+-", dtype=np.uint8))


@dataclass(frozen=True)
class Marks:
    """What separates the fields of a file.

    Attributes:
        quotes: number of quotes.
        separators: number of separators, those within quotes included.
        lines: number of lines.
        odd: whether a quote is in an invalid place.
        coded: whether a field begins like a code (with a plus sign, or a zero and a digit) or with a space
            and something else than a letter.
    """

    quotes: int
    separators: int
    lines: int
    odd: bool
    coded: bool


def marks(text: RawText, separator: str) -> Marks:
    """Count quotes, separators and lines, and check the characters beside each quote.

    A quote that opens a field comes after a separator or a line end, one that closes it before one; two
    quotes within a field count as one that closes and one that opens.
    """
    beside = np.zeros(256, dtype=np.bool_)
    beside[[ord(separator), 10, 13, _QUOTE]] = True
    quotes = separators = lines = 0
    odd, coded, before = False, False, b"\n"
    for block in _blocks(text):
        codes = np.frombuffer(before + block + b"\n", dtype=np.uint8)  # a neighbour on each side
        begins, ends = codes[:-1] == ord(separator), codes[:-1] == _END  # fields, lines
        separators += int(np.count_nonzero(begins[1:]))
        lines += int(np.count_nonzero(ends[1:]))
        begins |= ends
        if b'"' in block:
            begins |= codes[:-1] == _QUOTE
            at = np.flatnonzero(codes[1:-1] == _QUOTE) + 1
            opens, closes = at[quotes % 2 :: 2], at[1 - quotes % 2 :: 2]
            odd = odd or not (beside[codes[opens - 1]].all() and beside[codes[closes + 1]].all())
            quotes += len(at)
        like = codes[1:] - np.uint8(ord("+")) <= ord("0") - ord("+")  # +,-./0; others wrap around
        like |= codes[1:] == ord(" ")
        if separator != "\t":
            like |= codes[1:] == ord("\t")
        begins &= like
        coded = coded or _any_code(codes, np.flatnonzero(begins[:-1]) + 1)
        before = block[-1:]
    return Marks(quotes, separators, lines + (before != b"\n"), odd or quotes % 2 == 1, coded)


def _any_code(codes: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> bool:
    """Return whether a field that begins at one of some places does so with +, -0, 0 and a digit, or a space
    and no letter."""
    first, digit = codes[at], codes[at + 1] - np.uint8(ord("0")) < 10
    third = codes[np.minimum(at + 2, len(codes) - 1)]
    negative = (first == ord("-")) & (codes[at + 1] == ord("0")) & (third != ord("."))
    spaced = ((first == ord(" ")) | (first == ord("\t"))) & (codes[at + 1] < ord("A"))
    return bool((((first == ord("0")) & digit) | (first == ord("+")) | negative | spaced).any())


def _blocks(text: RawText) -> Iterator[bytes]:
    """Yield the text in blocks of whole lines, without a byte order mark."""
    with text.open() as stream:
        if stream.read(3) != b"\xef\xbb\xbf":
            stream.seek(0)
        while block := stream.read(_BLOCK):
            yield block + stream.readline()


def _whole_rows(text: RawText) -> Iterator[bytes]:
    """Yield the text in blocks that end where a row does; all quotes are in valid places."""
    rest = b""
    for block in _blocks(text):
        rows, within = rest + block, block.count(b'"') + rest.count(b'"')
        end = at = len(rows)
        while at and (within % 2 or rows[at - 1] != _END):
            at = rows.rfind(b"\n", 0, at - 1) + 1
            within -= rows.count(b'"', at, end)
            end = at
        rest = rows[at:]
        if at:
            yield rows[:at]
    yield rest


def all_whole(text: RawText, header: Header) -> bool:
    """Return whether each line below the header has all fields; the text has no quotes."""
    skip, each = header.skip, header.width - 1
    for block in filter(None, _whole_rows(text) if each else ()):
        codes = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", dtype=np.uint8)
        between, ends = np.flatnonzero(codes == ord(header.separator)), np.flatnonzero(codes == _END)
        if skip:
            between = between[between > ends[:skip][-1]]
            skip, ends = max(skip - len(ends), 0), ends[skip:]
        whole = len(between) == each * len(ends) and (between[each - 1 :: each] < ends).all()
        if not whole or not (between[each::each] > ends[:-1]).all():
            return False
    return True


def quoted_numbers(text: RawText, separator: str) -> frozenset[int]:
    """Return the positions (from 0) of the columns in which a field begins with a quote and a digit or sign:
    "7" is a name, not a quantity.

    Args:
        text: the text; every quote must begin or end a field, or be doubled within one.
        separator: one character.
    """
    places: set[int] = set()
    for block in _whole_rows(text):
        codes = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
        at = np.flatnonzero(codes == _QUOTE)
        begins = at[::2]
        begins = begins[_NUMERIC[codes[begins + 1]] & (codes[begins - 1] != _QUOTE)]
        if len(begins):
            outside = np.bitwise_xor.accumulate((codes == _QUOTE).view(np.uint8)) == 0
            before = np.cumsum((codes == ord(separator)) & outside)  # separators up to each byte
            ends = np.flatnonzero((codes == _END) & outside)
            row = ends[np.searchsorted(ends, begins) - 1]
            places.update(np.unique(before[begins] - before[row]).tolist())
    return frozenset(places)


def read_odd_quotes(text: RawText, header: Header, wanted: Sequence[str]) -> pl.DataFrame:
    """Read columns as strings, null where a field is empty; blank lines are skipped.

    Args:
        text: of the file.
        header: its header.
        wanted: names of columns.

    Raises:
        DataError: a quote is not closed, something follows the closing quote of a field, a line has too few
            or too many fields, a byte is not UTF-8, or it is ambiguous whether a quote is a lone one.
    """
    fault: DataError | None = None
    for dialect in _dialects(text, header):
        try:
            return pl.concat(_frames(text, header, wanted, dialect))
        except DataError as error:
            fault = fault or error
    assert fault is not None
    raise fault


def odd_blocks(text: RawText, header: Header, wanted: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
    """Yield what `read_odd_quotes` returns, at most ``rows`` rows at a time; the text is checked first."""
    fault: DataError | None = None
    for dialect in _dialects(text, header):
        try:
            deque(_frames(text, header, (), dialect, rows), maxlen=0)
        except DataError as error:
            fault = fault or error
        else:
            yield from _frames(text, header, wanted, dialect, rows)
            return
    assert fault is not None
    raise fault


def _dialects(text: RawText, header: Header) -> Iterator[Mapping[str, Any]]:
    with text.open() as stream:
        sample = stream.read(1 << 24)
    spaced = f'{header.separator} "'.encode() in sample
    yield {"skipinitialspace": spaced}
    if b'\\"' in sample:
        yield {"skipinitialspace": spaced, "escapechar": "\\", "doublequote": False}


def _frames(
    text: RawText,
    header: Header,
    wanted: Sequence[str],
    dialect: Mapping[str, Any],
    rows: int | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield all rows at once, or ``rows`` at a time and the rest."""
    places = [header.named.index(name) for name in wanted]
    cells: list[list[str | None]] = [[] for _ in places]

    def frame() -> pl.DataFrame:
        columns = zip(wanted, cells, strict=True)
        return pl.DataFrame([pl.Series(name, column, dtype=pl.String) for name, column in columns])

    above = text.above + header.skip
    line, doubtful, alone = above + 1, None, True
    try:
        with long_fields(), text.open() as stream:
            lines = _Lines(io.TextIOWrapper(stream, "utf-8-sig", newline="\n"), header)
            reader = csv.reader(lines, delimiter=header.separator, strict=True, **dialect)
            for fields in reader:
                if fields and len(fields) != header.width:
                    raise header.ragged(text.path, line, fields)
                if fields:
                    for column, place in zip(cells, places, strict=True):
                        column.append(fields[place] or None)
                if above + reader.line_num > line and doubtful is None:
                    doubtful = line
                line = above + reader.line_num + 1
                if cells and len(cells[0]) == rows:
                    yield frame()
                    cells = [[] for _ in places]
            alone = lines.all_whole
    except csv.Error as error:
        raise DataError(
            f"quotes must be closed, and doubled inside quotes: {text.path}, line {line:,} ({error}). "
            "Correct the quotes there."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"tables are read as UTF-8: {text.path} has an invalid byte near line {line:,} ({error}). Set "
            "[data] encoding, or save the file as UTF-8."
        ) from None
    if doubtful is not None and alone and header.width > 1:
        raise _doubtful(text.path, doubtful)
    if rows is None or (cells and cells[0]):
        yield frame()


class _Lines:
    """The lines below the header, and whether each has the right number of separators, ignoring quotes."""

    def __init__(self, text: io.TextIOWrapper, header: Header) -> None:
        self._text, self._header = text, header
        self.all_whole = True

    def __iter__(self) -> Iterator[str]:
        for _ in range(self._header.skip):
            next(self._text, None)
        separators = self._header.width - 1
        for line in self._text:
            # The csv module takes a bare CR for a line end.
            plain = line.rstrip("\r\n").replace("\r", " ") + "\n"
            self.all_whole = self.all_whole and (
                plain == "\n" or plain.count(self._header.separator) == separators
            )
            yield plain


def _doubtful(path: Location, line: int) -> DataError:
    return DataError(
        f"ambiguous quote: {path}, line {line:,}, opens a quote that closes on a later line, but every "
        "line is a complete row if quotes are text. If the quote is text, put the field in quotes and "
        "double the quote; if the field has two lines, join them."
    )
