"""The header of a delimited file: its names, what separates them, and where the rows begin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from twotower.core.where import shown
from twotower.core.wording import count_of
from twotower.data.csv_fields import fields_of
from twotower.data.raw_text import EmptyTable, RawText
from twotower.data.remote import Location
from twotower.errors import DataError

_OTHERS = "\t,;|"
_AHEAD = 20
"""Number of rows below the header that are compared with it, to tell whether it is one."""
_VALUE = re.compile(r"[+-]?(\d+([.,]\d*)?|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d?-\d\d?([ T].*)?|\d\d?:\d\d.*")
"""What is hardly a column name: a number, a date or a time."""


class NoHeader(DataError):
    """Raised if the first line of a file is a row.

    Args:
        message: the error message.
        width: its number of fields.
    """

    def __init__(self, message: str, width: int) -> None:
        super().__init__(message)
        self.width = width


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        separator: one character.
        named: names, one for every field of a row.
        padded: names that had spaces around them.
        skip: number of lines before the first row.
        lines: 1 if the names are a line of the file itself, otherwise 0.
        unnamed_last: whether the last column has no name, as when lines end in a separator.
    """

    separator: str
    named: tuple[str, ...]
    padded: frozenset[str]
    skip: int
    lines: int
    unnamed_last: bool = False

    @property
    def width(self) -> int:
        """Number of fields of a row."""
        return len(self.named)

    @property
    def names(self) -> list[str]:
        """Names of the columns, without a last one that has none."""
        return list(self.named[:-1] if self.unnamed_last else self.named)

    def ragged(self, path: Location, line: int, fields: Sequence[str]) -> DataError:
        """Return the error for a line with too few or too many fields."""
        few = len(fields) < self.width
        fix = (
            "Complete it (was the file cut short?)"
            if few
            else "Put fields that contain a separator in quotes"
        )
        whose = "header" if self.lines else "list of columns"
        return DataError(
            f"every line must have as many fields as the {whose} ({self.width}): {path}, line {line:,}, "
            f"has {len(fields)}: {shown(self.separator.join(fields))}. {fix}."
        )


def find_header(text: RawText, separator: str, given: Sequence[str] | None = None) -> Header | None:
    """Find the header of a delimited file.

    Blank lines and comments (``# ...``) above it are skipped. A comment with as many fields as the row of
    values below it is the header itself (``# user item``).

    Args:
        text: of the file.
        separator: the expected one. If it is empty or not in the header, the most frequent common separator
            is used.
        given: names of the columns, for a file without a header.

    Returns:
        The header; None if lines end in CR alone.

    Raises:
        DataError: the file is empty, has a row in place of a header, or two columns with one name.
    """
    path = text.path
    with text.open() as stream:
        lines = [line.decode("utf-8-sig", "replace").rstrip("\r\n") for line in islice(stream, 1 + _AHEAD)]
        first = 0
        while lines and not any(lines[first:]) and len(lines) > _AHEAD:  # only blank lines so far
            first = len(lines)
            lines += [line.decode("utf-8", "replace").rstrip("\r\n") for line in islice(stream, _AHEAD)]
            if len(lines) == first:
                break
    top = next((place for place, line in enumerate(lines) if line.strip()), None)
    if top is None:
        raise EmptyTable(
            f"a table needs a header and rows, and {path} is empty. Check the file, or fetch it again."
        )
    if "\r" in lines[top] and (not any(lines[top + 1 :]) or _has_rows(lines[top])):
        return None
    if lines[top].startswith("PAR1"):
        raise DataError(f"{path} is a compressed Parquet file. Unpack it.")
    comment = top
    while comment < len(lines) and (not lines[comment].strip() or lines[comment].startswith("#")):
        comment += 1
    if comment > top and comment < len(lines):
        top = _below_comments(lines, top, comment, separator)
    line = lines[top].removeprefix("#") if top < comment else lines[top]
    separator = _separator(line, separator)
    fields = _fields(line, separator)
    below = [_fields(row, separator) for row in lines[top + 1 :] if row.strip()]
    if given is not None:
        return _of_given(path, list(given), fields, separator, top)
    _check_names(path, fields, below)
    names = [name.strip() for name in fields]
    own = 1
    if below and len(below[0]) == len(names) + 1 and below[0][-1] == "" and names[-1] != "":
        names, own = [*names, ""], 0  # rows end in a separator, but the header does not
    blank = next((place for place, row in enumerate(lines[top + 1 :]) if row.strip()), len(lines) - top - 1)
    return _header(path, names, fields, separator, top + 1 + (blank if len(names) > 1 else 0), own)


def _header(
    path: Location, names: list[str], fields: Sequence[str], separator: str, skip: int, own: int
) -> Header:
    named = tuple(name or f"Unnamed: {place}" for place, name in enumerate(names))
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"column names must be unique: {path} has two columns '{twice}'. Rename one of them.")
    padded = frozenset(name.strip() for name in fields if name != name.strip())
    return Header(separator, named, padded, skip, own, unnamed_last=len(names) > 1 and not names[-1])


def _of_given(path: Location, given: list[str], fields: list[str], separator: str, top: int) -> Header:
    """Return the header of a file with given names; its first line may repeat them."""
    stripped = [name.strip() for name in fields]
    if stripped == given:
        return _header(path, given, fields, separator, top + 1, 1)
    if len(stripped) == len(given) + 1 and not stripped[-1]:
        given = [*given, ""]
    if len(given) != len(stripped):
        raise DataError(
            f"the columns of a table without a header must all be named: {path} has "
            f"{count_of(len(stripped), 'field')} per line, got {count_of(len(given), 'name')} "
            f"({', '.join(given)}). Its first line: {shown(separator.join(fields))}."
        )
    return _header(path, given, (), separator, top, 0)


def _below_comments(lines: Sequence[str], top: int, first: int, separator: str) -> int:
    """Return the line of the header: the first one below the comments, or the last comment."""
    last = first - 1
    while last > top and not lines[last].strip():
        last -= 1
    names = lines[last].removeprefix("#")
    one = _separator(names, separator)
    above, below = _fields(names, one), _fields(lines[first], one)
    values = sum(_VALUE.fullmatch(field.strip()) is not None for field in below)
    return (
        last if len(above) == len(below) > 1 and values and not _looks_like_a_row(above, [below]) else first
    )


def _check_names(path: Location, fields: Sequence[str], below: Sequence[Sequence[str]]) -> None:
    if "\0" in "".join(fields):
        raise DataError(
            f"tables are read as UTF-8: {path} has zero bytes, as in UTF-16. Set [data] encoding, or save "
            "the file as UTF-8."
        )
    if _looks_like_a_row(fields, below):
        raise NoHeader(
            f"a table needs a header: the first line of {path} looks like a row, "
            f"{shown(','.join(fields))}. Add a line with the column names, or name them with columns = "
            "[...] in [data] (names=[...] in Python).",
            len(fields),
        )


def _looks_like_a_row(fields: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether the header has values above all columns of values, and there are such columns."""
    values = [_VALUE.fullmatch(field.strip()) is not None for field in fields]
    if not below:
        return 2 * sum(values) > len(fields)
    columns = [
        all(
            place < len(row) and (not row[place].strip() or _VALUE.fullmatch(row[place].strip()))
            for row in below
        )
        for place in range(len(fields))
    ]
    return any(columns) and all(value for value, numeric in zip(values, columns, strict=True) if numeric)


def _has_rows(line: str) -> bool:
    """Return whether lines end in CR, and LF is a line end within a field in quotes."""
    outside, opened = line.split('"')[::2], line.count('"') % 2 == 1
    return opened and any("\r" in text for text in outside)


def _separator(line: str, usual: str) -> str:
    if not usual or (usual not in line and any(other in line for other in _OTHERS)):
        return max(_OTHERS, key=line.count)
    return usual


def _fields(line: str, separator: str) -> list[str]:
    return fields_of(line.replace("\r", " "), separator) or [""]
