"""Read one file of a table by its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from twotower.core.where import Where, shown
from twotower.data.checks import require_columns
from twotower.data.delimited import Dtypes, header_names, read_delimited
from twotower.data.json_lines import SUFFIXES as JSON
from twotower.data.json_lines import json_names, read_json_lines
from twotower.data.raw_text import UTF8, EmptyTable, raw_text, unreadable
from twotower.data.recbole import SUFFIXES as RECBOLE
from twotower.data.recbole import read_recbole, recbole_types
from twotower.data.remote import Location, RemoteFile
from twotower.data.table_files import PARQUET, TableFile, begins_as_parquet
from twotower.errors import DataError


@dataclass(frozen=True)
class Reading:
    """Options for reading a table.

    Attributes:
        dtypes: dtypes of some columns.
        names: names of all columns, for text files without a header.
        encoding: encoding of text files.
        ids: columns of ids.
    """

    dtypes: Dtypes
    names: Sequence[str] | None = None
    encoding: str = UTF8
    ids: Sequence[str] = ()


def names_in(file: TableFile, how: Reading) -> list[str]:
    """Return the names of the columns, those of partitions last; errors as in `read_file`."""
    path, suffix = file.path, suffix_of(file)
    named = suffix in PARQUET or suffix in JSON or suffix in RECBOLE
    if how.names is not None and named:
        raise DataError(
            f"column names can only be given for text files without a header: {path} has its own. Leave "
            "them out."
        )
    try:
        if suffix in PARQUET:
            found = list(parquet_schema(path))
        elif suffix in JSON:
            found = json_names(raw_text(path, how.encoding))
        elif suffix in RECBOLE:
            found = list(recbole_types(path, how.encoding))
        else:
            found = header_names(path, suffix, how.names, how.encoding)
    except OSError as error:
        raise unreadable(path, error) from None
    return [*found, *(name for name, _ in file.partition if name not in found)]


def read_file(file: TableFile, columns: list[str] | None, how: Reading) -> pl.DataFrame:
    """Read columns of a file; partitions become columns of strings, unless the file has a column of that
    name.

    Raises:
        EmptyTable: it has no rows.
        DataError: it is damaged, lacks a column, or has a value of the wrong dtype.
    """
    path = file.path
    present = names_in(file, how)
    require_columns(present, columns or (), str(path))
    own = names_in(replace(file, partition=()), how) if file.partition else present
    folders = {name: value for name, value in file.partition if name not in own}
    inside = None if columns is None else [name for name in columns if name not in folders]
    if inside == []:  # only partitions are read; any column has their number of rows
        inside, how = own[:1], replace(how, dtypes={})
    try:
        frame = _read(path, suffix_of(file), inside, how)
    except OSError as error:
        raise unreadable(path, error) from None
    frame = frame.with_columns(pl.lit(value, pl.String).alias(name) for name, value in folders.items())
    return frame if columns is None else frame.select(columns)


def _read(path: Location, suffix: str, columns: list[str] | None, how: Reading) -> pl.DataFrame:
    if suffix in PARQUET:
        return _cast(_read_parquet(path, columns), how.dtypes, str(path))
    if suffix in JSON:
        return _cast(read_json_lines(raw_text(path, how.encoding), columns), how.dtypes, str(path))
    if suffix in RECBOLE:
        return read_recbole(path, columns, how.dtypes, how.encoding)
    return read_delimited(
        path, suffix, columns, how.dtypes, names=how.names, encoding=how.encoding, ids=how.ids
    )


def suffix_of(file: TableFile) -> str:
    """Return the format of a file; Parquet is recognised by its first bytes whatever the suffix."""
    if file.suffix not in PARQUET and begins_as_parquet(file.path):
        return PARQUET[0]
    return file.suffix


def parquet_schema(path: Location) -> Mapping[str, pl.DataType]:
    """Return the dtypes of a Parquet file."""
    if isinstance(path, Path):
        try:
            return pl.read_parquet_schema(path)
        except PolarsError as error:
            raise damaged(path, error) from None
    import pyarrow as pa  # noqa: PLC0415 (a third of a second)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return schema_of(pq.read_schema(path.ranges()))
    except pa.ArrowException as error:
        raise damaged(path, error) from None


def schema_of(stored: Any) -> Mapping[str, pl.DataType]:
    """Return the dtypes of a schema of PyArrow."""
    empty = pl.from_arrow(stored.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def _read_parquet(path: Location, columns: Sequence[str] | None) -> pl.DataFrame:
    wanted = list(parquet_schema(path)) if columns is None else list(columns)
    if not isinstance(path, Path):
        frame = _read_ranges(path, wanted)
    else:
        try:
            frame = pl.read_parquet(path, columns=wanted, glob=False, hive_partitioning=False)
        except PolarsError as error:
            for name in wanted:
                _check_column(path, name)
            raise damaged(path, error) from None
    if not frame.height:
        raise EmptyTable(f"a table needs at least one row, and {path} has none. Check the file.")
    return frame.select(wanted)


def _read_ranges(path: RemoteFile, columns: Sequence[str]) -> pl.DataFrame:
    """Read columns of a file at an address, and only those."""
    import pyarrow as pa  # noqa: PLC0415 (a third of a second)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        found = pl.from_arrow(pq.ParquetFile(path.ranges()).read(columns=list(columns)))
    except (pa.ArrowException, PolarsError) as error:
        raise damaged(path, error) from None
    assert isinstance(found, pl.DataFrame)
    return found


def _check_column(path: Path, name: str) -> None:
    """Raise a `DataError` that names a column if its strings are not UTF-8."""
    try:
        pl.read_parquet(path, columns=[name], glob=False, hive_partitioning=False)
    except PolarsError as error:
        if "utf" in str(error).lower():
            raise DataError(
                f"strings must be UTF-8: {path}, column '{name}' has invalid bytes. Write it again as "
                "UTF-8, or leave the column out."
            ) from None


def _cast(frame: pl.DataFrame, dtypes: Dtypes, source: str) -> pl.DataFrame:
    return frame.with_columns(
        as_type(frame.get_column(name), dtype, Where(source, name))
        for name, dtype in dtypes.items()
        if name in frame.columns and frame.schema[name] != dtype
    )


def as_type(values: pl.Series, dtype: pl.DataType | type[pl.DataType], where: Where) -> pl.Series:
    """Return a column in a dtype; a value that it can't hold is a `DataError`."""
    if dtype == pl.String and values.dtype.is_float() and are_whole(values):
        values = values.fill_nan(None).cast(pl.Int64)  # integers of a pandas column with missing values
    try:
        found = values.cast(dtype, strict=False)
    except PolarsError:
        raise where.wrong_type(f"the column must be {dtype}", values, "Read it as another type") from None
    if found.dtype != dtype:  # the fields of records have been cast
        raise where.wrong_type(f"the column must be {dtype}", values, "Read it as another type")
    wrong = found.is_null() & values.is_not_null()
    if values.dtype.is_float() and dtype.is_integer():  # a cast would drop the fraction
        wrong = wrong | (found.cast(values.dtype) != values)
    if wrong.any():
        row = wrong.arg_max() or 0
        rule = f"the column must be {dtype}, which {shown(values[row])} is not"
        raise where.fault(rule, "Correct the value, or read the column as another type", row + 1, values[row])
    return found


def are_whole(values: pl.Series) -> bool:
    """Return whether floats are all whole numbers of 64 bits; null and NaN are."""
    return bool(((values == values.floor()) & ((values.abs() < 2.0**63) | values.is_nan())).all())


def damaged(path: Location, error: Exception) -> DataError:
    """Return the error for a Parquet file that can't be read."""
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a complete Parquet file ({reason}). Write or fetch it again.")
