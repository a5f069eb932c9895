"""Read a CSV from a stream in blocks: only the requested columns; errors name the row and column of a bad
cell.

Polars' own scan takes a file but not a member of a zip, which it would need whole in memory. Here only a
block of 16 MB and the requested columns are in memory, whatever the source of the bytes.
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

from twotower.datasets.source import FoundFile
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
        file: the file.
        columns: names and dtypes of the columns to read. An integer may be written as ``20200705.0``.
        required: those of them in which no cell may be empty.
        header: names of all columns, for a file without a header line.
        separator: between fields; if it has more than one character (``::``), no field may contain a tab.
        quoted: whether a field may be quoted; if false, quotation marks are text.
        encoding: of the text.
        block: bytes parsed at a time. If the file has more than one block, quoted fields must not contain
            line breaks.

    Raises:
        DataError: a column is missing, or a cell is empty or not of its dtype; the message names file, row
            and column.
    """
    with file.open() as stream:
        if header is None:
            header = _header(stream, separator)
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(
                f"{file} must have the column '{missing[0]}', got "
                f"{', '.join(header)}.{nearest(missing[0], header)}"
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
                        "Fetch it again, or correct or delete the row"
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
    """Yield blocks of about ``size`` bytes that end at the end of a line."""
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
    """Parses the bytes of one file into columns."""

    file: FoundFile
    header: Sequence[str]
    columns: Dtypes
    separator: str
    quoted: bool

    def parse(self, text: bytes, first: int) -> pl.DataFrame:
        """Parse whole lines; the first one is data row ``first`` of the file."""
        try:
            return self._as(self.columns, text, first)
        except PolarsError:
            pass  # which cell it is, is found below
        try:
            strings = self._as({}, text, first)
        except PolarsError as error:  # the text is not UTF-8, or a quotation mark is never closed
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"{self.file}, at or below data row {first}: the rows don't match the header ({reason})"
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
                    "correct or delete the row"
                )
            strings = strings.with_columns(cast)
        return strings

    def _as(self, dtypes: Dtypes, text: bytes, first: int) -> pl.DataFrame:
        """Parse with the given dtypes; columns without one are strings."""
        # Our own header has one more column: when columns are selected, Polars ignores cells beyond the
        # header, and a cell with a separator in it would shift the rest of its row unnoticed.
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
                f"{self.file}, data row {first + row}: the header has {width} columns, and the row has "
                f"more cells, next {beyond[row]!r}; put cells that contain a separator in quotes"
            )
        return table.select(pl.col(c).alias(name) for c, name in names.items())


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate one column at a time, freeing the blocks: the peak memory is one column above the
    result."""
    names = parts[0].columns
    columns = [[part.get_column(name) for part in parts] for name in names]
    parts.clear()
    whole = []
    while columns:
        whole.append(pl.concat(columns.pop(0), rechunk=True))
    return pl.DataFrame(whole)
