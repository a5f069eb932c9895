"""CSV and TSV files: the fast strict path, and the slow one that finds the line at fault when it fails.

Lines end in LF; a CR before it belongs to the line end, any other CR to the text (four of KuaiRec's captions
hold one). Polars fills rows that are too short with nulls and cuts rows that are too long where it reads only
some of the columns, so the number of fields is checked here.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from twotower.data.checks import require_columns
from twotower.data.parse import shown
from twotower.errors import DataError

Dtypes = Mapping[str, "pl.DataType | type[pl.DataType]"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ""}
"""By suffix. A .txt file, and one whose header lacks its own, has the commonest of the usual ones there."""

_OTHERS = "\t,;|"
_FOREIGN = {
    b"PAR1": "a Parquet file; give it the suffix .parquet",
    b"PK\x03\x04": "a zip file or a spreadsheet; unpack it, or save the sheet as CSV",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
}
"""What a file may be that is no text in UTF-8, by its first bytes."""

_SAMPLE = 10_000
"""Rows from which the dtypes are guessed; if a later row proves the guess wrong, all rows are looked at."""


def read_delimited(path: Path, suffix: str, columns: Sequence[str] | None, dtypes: Dtypes) -> pl.DataFrame:
    """Read columns of a CSV or TSV file, plain or gzipped.

    Args:
        path: the file.
        suffix: its kind, a key of `SEPARATORS`.
        columns: names to read, in the order wanted; none for all.
        dtypes: of some of the columns; the others are Int64, Float64, Boolean or String as their values are.

    Raises:
        DataError: the file is empty, not UTF-8 or ragged, lacks a column, or has a value not of its dtype;
            the message says where.
    """
    file = _header(path, SEPARATORS[suffix])
    wanted = list(file.names if columns is None else columns)
    require_columns(file.names, wanted, str(path))
    if len(set(file.names)) < len(file.names):
        twice = next(name for name in file.names if file.names.count(name) > 1)
        raise DataError(
            f"every column needs a name of its own: {path} has two '{twice}'. Rename one of them."
        )
    given = {name: dtype for name, dtype in dtypes.items() if name in wanted}
    plain = file.count_quotes_and_separators()
    # Without quotes the number of separators tells whether the file is regular, so that only what is wanted
    # is read. With them Polars must see every field to tell; what is not wanted is read as strings.
    needed = wanted if plain and not plain[0] else file.names
    try:
        frame = pl.read_csv(
            path,
            columns=needed,
            separator=file.separator,
            schema_overrides={**{name: pl.String for name in needed if name not in wanted}, **given},
            infer_schema_length=_SAMPLE,
            glob=False,
        )
    except PolarsError:
        frame = _read_slowly(file, wanted, given)
    if plain and not plain[0]:
        suspect = plain[1] != (frame.height + 1) * (len(file.names) - 1)
    else:
        suspect = file.names[-1] in frame.columns and frame.get_column(file.names[-1]).null_count() > 0
    if suspect and frame.height:
        frame = frame.filter(pl.Series(file.rows_not_blank(frame.height)))
    if not frame.height:
        raise DataError(
            f"a table needs at least one row: {path} has a header and nothing below it. Check the file."
        )
    frame = frame.select(wanted)
    late = [
        _narrowed(frame.get_column(name))
        for name, dtype in frame.schema.items()
        if dtype == pl.String and name not in given and not frame.get_column(name).head(_SAMPLE).count()
    ]
    return frame.with_columns(late)


def header_names(path: Path, suffix: str) -> list[str]:
    """Return the names of the columns; the arguments are those of `read_delimited`."""
    return _header(path, SEPARATORS[suffix]).names


@dataclass(frozen=True)
class _File:
    """A delimited file whose header has been read."""

    path: Path
    separator: str
    names: list[str]

    def count_quotes_and_separators(self) -> tuple[int, int] | None:
        """Return how many of each the file has; none if it is compressed, as counting would cost too much."""
        if _is_gzip(self.path):
            return None
        quotes = separators = 0
        with self.path.open("rb") as stream:
            while block := stream.read(1 << 22):
                codes = np.frombuffer(block, dtype=np.uint8)
                quotes += int(np.count_nonzero(codes == ord('"')))
                separators += int(np.count_nonzero(codes == ord(self.separator)))
        return quotes, separators

    def records(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the fields of each record, blank ones included, the header first."""
        limit = csv.field_size_limit(1 << 30)
        try:
            with _open(self.path) as stream:
                text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="\n")
                # The csv module refuses a bare CR; only the number of fields matters here.
                lines = (line.replace("\r", "") for line in text)
                reader = csv.reader(lines, delimiter=self.separator, strict=strict)
                start, seen = 1, False
                for fields in reader:
                    seen = seen or bool(fields)
                    if seen:
                        yield start, fields
                    start = reader.line_num + 1
        finally:
            csv.field_size_limit(limit)

    def rows_not_blank(self, height: int) -> list[bool]:
        """Return which data rows are not blank lines, having checked that the others have all fields."""
        keep = []
        for line, fields in self.records():
            if fields and len(fields) != len(self.names):
                raise self.ragged(line, fields)
            keep.append(bool(fields) or len(self.names) == 1)
        keep = keep[1:]  # the header
        return keep if len(keep) == height else [True] * height

    def ragged(self, line: int, fields: Sequence[str]) -> DataError:
        """Build the error for a line with too few or too many fields."""
        few = len(fields) < len(self.names)
        mend = (
            "Complete it (was the file cut short?)" if few else "Put fields that hold a separator in quotes"
        )
        return DataError(
            f"every line needs as many fields as the header ({len(self.names)}): {self.path}, line {line:,}, "
            f"has {len(fields)}: {shown(self.separator.join(fields))}. {mend}."
        )

    def line_of(self, row: int) -> int:
        """Return the line number of a data row counted from 0."""
        for place, (line, _) in enumerate(self.records()):
            if place == row + 1:
                return line
        return row + 2

    def damage(self, reason: str) -> DataError:
        """Look for what is wrong with a file that can't be parsed at all."""
        try:
            with _open(self.path) as stream:
                for number, data in enumerate(stream, 1):
                    try:
                        data.decode()
                    except UnicodeDecodeError as error:
                        return DataError(
                            f"tables are read as UTF-8: {self.path}, line {number:,}, has the byte "
                            f"0x{data[error.start]:02x} at {error.start + 1}, which isn't. Save it as UTF-8."
                        )
        except (OSError, EOFError) as error:
            return unreadable(self.path, error)
        last = 1
        try:
            for line, fields in self.records(strict=True):
                last = line
                if fields and len(fields) != len(self.names):
                    return self.ragged(line, fields)
        except csv.Error as error:
            return DataError(
                f"quotes must be closed, and double inside quotes: {self.path}, after line {last:,} "
                f"({error}). Correct the quotes there."
            )
        return DataError(f"{self.path} can't be read as a table: {reason.splitlines()[0]}. Check the file.")


def unreadable(path: Path, error: BaseException) -> DataError:
    """Build the error for a file that the system, or its compression, won't let us read."""
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return DataError(f"{path} can't be read ({reason}). Check its permissions, or fetch it again.")


def _read_slowly(file: _File, wanted: Sequence[str], dtypes: Dtypes) -> pl.DataFrame:
    """Read everything as strings, then give each column its dtype, or say which value has none."""
    try:
        strings = pl.read_csv(file.path, separator=file.separator, infer_schema=False, glob=False)
    except PolarsError as error:
        raise file.damage(str(error)) from None
    except OSError as error:
        raise unreadable(file.path, error) from None
    if strings.get_column(strings.columns[-1]).null_count():
        strings = strings.filter(pl.Series(file.rows_not_blank(strings.height)))
    done = []
    for name in wanted:
        cells = strings.get_column(name)
        if name not in dtypes:
            done.append(_narrowed(cells))
            continue
        dtype = dtypes[name]
        try:
            found = _parsed(cells, dtype)
        except PolarsError:
            raise DataError(
                f"column '{name}' of {file.path} can't be read as {dtype}; read it as a string"
            ) from None
        wrong = found.is_null() & cells.is_not_null()
        if wrong.any():
            row = wrong.arg_max() or 0
            raise DataError(
                f"column '{name}' must be {dtype}: {file.path}, line {file.line_of(row):,}, has "
                f"{shown(cells[row])}. Correct the value, or read the column as another type."
            )
        done.append(found)
    if file.names[-1] not in wanted:
        done.append(strings.get_column(file.names[-1]))
    return pl.DataFrame(done)


def _parsed(cells: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Return strings as values of a dtype, null where they are none of it."""
    if dtype == pl.Date:
        return cells.str.to_date("%Y-%m-%d", strict=False)
    if dtype == pl.Datetime:
        form = "%Y-%m-%d %H:%M:%S%.f"
        return cells.str.replace("T", " ", literal=True).str.to_datetime(form, strict=False).cast(dtype)
    if dtype == pl.Boolean:
        return cells.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    # pandas writes the integers of a column with gaps as floats
    return (cells.str.strip_suffix(".0") if dtype.is_integer() else cells).cast(dtype, strict=False)


def _narrowed(cells: pl.Series) -> pl.Series:
    """Return strings as Int64, Float64 or Boolean where all of them are; integers too long stay strings."""
    if not cells.count():
        return cells
    for dtype in (pl.Int64, pl.Float64):
        if dtype == pl.Float64 and cells.str.contains(r"^[+-]?\d{16,}$").any():
            return cells
        with suppress(PolarsError):
            return cells.cast(dtype)
    flags = cells.str.to_lowercase()
    return flags == "true" if flags.drop_nulls().is_in(["true", "false"]).all() else cells


def _header(path: Path, separator: str) -> _File:
    try:
        with _open(path) as stream:
            start = stream.read(4)
            stream.seek(0)
            for magic, what in _FOREIGN.items():
                if start.startswith(magic):
                    raise DataError(f"tables are read as UTF-8: {path} is {what}.")
            line = next(
                (text for data in stream if (text := data.decode("utf-8-sig", "replace").strip("\r\n"))), ""
            )
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None
    if not line:
        raise DataError(
            f"a table needs a header and rows: {path} is empty. Check the file, or fetch it again."
        )
    if "\r" in line:
        raise DataError(
            f"lines must end in LF: those of {path} end in CR. Save the file with Unix line ends."
        )
    if not separator or (separator not in line and any(other in line for other in _OTHERS)):
        separator = max(_OTHERS, key=line.count)
    return _File(path, separator, next(csv.reader([line], delimiter=separator)))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if _is_gzip(path) else path.open("rb")  # type: ignore[return-value]
