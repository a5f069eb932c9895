"""Delimited files with quotes in unusual places: a lone quote is read as text, or its line is reported.

``5,the 5" disk`` has a quote that opens nothing: only one at the beginning of a field does. ``"a \\"b\\" c"``
escapes quotes with a backslash, as MySQL does. ``1, "a, b"`` has a space before a quoted field.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from twotower.data.header import Header
from twotower.data.raw_text import RawText
from twotower.errors import DataError


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
            return _read(text, header, wanted, dialect)
        except DataError as error:
            fault = fault or error
    assert fault is not None
    raise fault


@contextmanager
def long_fields() -> Iterator[None]:
    """Allow the csv module to read fields of any length."""
    limit = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _dialects(text: RawText, header: Header) -> Iterator[Mapping[str, Any]]:
    with text.open() as stream:
        sample = stream.read(1 << 24)
    spaced = f'{header.separator} "'.encode() in sample
    yield {"skipinitialspace": spaced}
    if b'\\"' in sample:
        yield {"skipinitialspace": spaced, "escapechar": "\\", "doublequote": False}


def _read(text: RawText, header: Header, wanted: Sequence[str], dialect: Mapping[str, Any]) -> pl.DataFrame:
    places = [header.named.index(name) for name in wanted]
    cells: list[list[str | None]] = [[] for _ in places]
    line, doubtful, alone = header.skip + 1, None, True
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
                if header.skip + reader.line_num > line and doubtful is None:
                    doubtful = line
                line = header.skip + reader.line_num + 1
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
    return pl.DataFrame(
        [pl.Series(name, column, dtype=pl.String) for name, column in zip(wanted, cells, strict=True)]
    )


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


def _doubtful(path: Path, line: int) -> DataError:
    return DataError(
        f"ambiguous quote: {path}, line {line:,}, opens a quote that closes on a later line, but every "
        "line is a complete row if quotes are text. If the quote is text, put the field in quotes and "
        "double the quote; if the field has two lines, join them."
    )
