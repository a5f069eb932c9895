"""A CSV read from a stream in blocks, only the columns asked for, with the place of a bad cell in the error.

Polars' own scan takes a file but not a member of a zip, which it would need whole in memory. Here a block of
16 MB and the columns asked for are all that is held, wherever the bytes are from.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import polars as pl
from polars.exceptions import PolarsError

from twotower.data.source import FoundFile
from twotower.errors import DataError, nearest

BLOCK = 1 << 24

_INTEGERS: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)

Dtypes = Mapping[str, type[pl.DataType] | pl.DataType]


def read_columns(
    file: FoundFile,
    columns: Dtypes,
    *,
    required: Sequence[str] = (),
    header: Sequence[str] | None = None,
    separator: str = ",",
    quoted: bool = True,
    encoding: str = "utf-8",
    block: int = BLOCK,
) -> pl.DataFrame:
    """Read ``columns`` of a CSV file whose lines end in LF (a bare CR belongs to the text).

    Args:
        file: where it is.
        columns: names and dtypes of the columns to read. An integer may be written as ``20200705.0``.
        required: those of them in which no cell may be empty.
        header: the names of all columns, for a file without a header line.
        separator: of the fields; with more than one character (``::``) no field may hold a tab.
        quoted: whether a field may be quoted; false takes quotation marks as they are.
        encoding: of the text.
        block: bytes parsed at a time. A quoted field must not contain a line break where there is more than
            one.

    Raises:
        DataError: a column is missing, or a cell is empty or not of its dtype; names file, row and column.
    """
    with file.open() as stream:
        if header is None:
            header = _header(stream, separator)
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(
                f"{file} needs the column '{missing[0]}', it has: {', '.join(header)}."
                f"{nearest(missing[0], header)}"
            )
        single = separator if len(separator) == 1 else "\t"
        parser = _Parser(file, header, columns, single, quoted)
        parts = []
        first = 1  # data row
        for data in _blocks(stream, block):
            text = data if encoding == "utf-8" else data.decode(encoding).encode()
            if single != separator:
                text = text.replace(separator.encode(), single.encode())
            part = parser.parse(text, first)
            for name in required:
                cells = part.get_column(name)
                if cells.null_count():
                    row = first + int(cells.is_null().arg_true()[0])
                    raise DataError(
                        f"{file}, data row {row}: '{name}' must not be empty; was the file cut short? "
                        "Fetch it again, or fix or delete the row"
                    )
            first += part.height
            parts.append(part)
    if not parts:
        return pl.DataFrame(schema=dict(columns))
    return _joined(parts)


def _header(stream: BinaryIO, separator: str) -> list[str]:
    line = stream.readline().removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").rstrip("\r\n")
    return next(csv.reader([line], delimiter=separator), [])


def _blocks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield pieces of about ``size`` bytes that end where a line does."""
    rest = b""
    while data := stream.read(size):
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest += data
            continue
        yield rest + data[:cut] if rest else data[:cut]
        rest = data[cut:]
    if rest.strip():
        yield rest


@dataclass(frozen=True)
class _Parser:
    """How the bytes of one file become columns."""

    file: FoundFile
    header: Sequence[str]
    columns: Dtypes
    separator: str
    quoted: bool

    def parse(self, text: bytes, first: int) -> pl.DataFrame:
        """Parse whole lines, the first of which is the data row ``first`` of the file."""
        try:
            return self._as(self.columns, text, first)
        except PolarsError:
            pass  # found out below which cell it is
        try:
            strings = self._as({}, text, first)
        except PolarsError as error:  # the text is not UTF-8, or a quotation mark is never closed
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"{self.file}, at or below data row {first}: not a table of its header ({reason})"
            ) from None
        for name, dtype in self.columns.items():
            cells = strings.get_column(name)
            if dtype in _INTEGERS:  # pandas writes the integers of a column with gaps as floats
                cells = cells.str.strip_suffix(".0")
            cast = cells.cast(dtype, strict=False)
            bad = cast.is_null() & cells.is_not_null()
            if bad.any():
                row = int(bad.arg_true()[0])
                raise DataError(
                    f"{self.file}, data row {first + row}: '{name}' must be {dtype}, got {cells[row]!r}; "
                    "fix or delete the row"
                )
            strings = strings.with_columns(cast)
        return strings

    def _as(self, dtypes: Dtypes, text: bytes, first: int) -> pl.DataFrame:
        """Parse with the given dtypes, strings where there is none."""
        # A header of our own, one column longer: where columns are picked, Polars says nothing of cells
        # beyond the header, and a cell with a separator in it would shift the rest of its row.
        names = {f"c{self.header.index(name)}": name for name in self.columns}
        width = len(self.header)
        table = pl.read_csv(
            io.BytesIO(self.separator.join(f"c{i}" for i in range(width + 1)).encode() + b"\n" + text),
            infer_schema=False,
            schema_overrides={c: dtypes[name] for c, name in names.items() if name in dtypes},
            columns=[*names, f"c{width}"],
            separator=self.separator,
            quote_char='"' if self.quoted else None,
        )
        beyond = table.get_column(f"c{width}")
        if beyond.null_count() < table.height:
            row = int(beyond.is_not_null().arg_true()[0])
            raise DataError(
                f"{self.file}, data row {first + row}: more cells than the {width} columns of the "
                f"header, the next is {beyond[row]!r}; is a separator in a cell not quoted?"
            )
        return table.select(pl.col(c).alias(name) for c, name in names.items())


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate, one column at a time and freeing as it goes: the peak is one column over the result."""
    names = parts[0].columns
    columns = [[part.get_column(name) for part in parts] for name in names]
    parts.clear()
    whole = []
    while columns:
        whole.append(pl.concat(columns.pop(0), rechunk=True))
    return pl.DataFrame(whole)
