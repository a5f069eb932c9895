"""Read tables from CSV, TSV, Parquet and RecBole files; an error says where, the value and the mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from twotower.data.checks import require_columns
from twotower.data.dataset import Dataset
from twotower.data.delimited import SEPARATORS, Dtypes, header_names, read_delimited, unreadable
from twotower.data.parse import Where, shown
from twotower.data.recbole import SUFFIXES as _RECBOLE
from twotower.data.recbole import read_recbole, recbole_types
from twotower.errors import DataError, nearest
from twotower.schema import Schema

_PARQUET = (".parquet", ".pq")


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, *, dtypes: Dtypes | None = None
) -> pl.DataFrame:
    """Read a table, by the suffix of its file: .csv, .tsv, .txt (each perhaps with .gz), .parquet, .inter.

    Args:
        path: the file.
        columns: names of the columns to read, in the order wanted; none for all.
        dtypes: dtypes of some of them. The others are as stored (Parquet), or Int64, Float64, Boolean or
            String as their values are (CSV). Columns that aren't read are ignored.

    Returns:
        One row a line or record, at least one.

    Raises:
        DataError: no such file, a folder, an unknown suffix, a missing column, no rows, a damaged or ragged
            file, text that is not UTF-8, a value not of its dtype.
    """
    path = Path(path).expanduser()
    suffix = _suffix(path)
    if columns is not None:
        columns = list(dict.fromkeys(columns))
    try:
        if suffix in _PARQUET:
            return _read_parquet(path, columns, dtypes or {})
        if suffix in _RECBOLE:
            return read_recbole(path, columns, dtypes or {})
        return read_delimited(path, suffix, columns, dtypes or {})
    except OSError as error:
        raise unreadable(path, error) from None


def read_dataset(
    interactions: str | Path,
    users: str | Path | None = None,
    items: str | Path | None = None,
    *,
    schema: Schema | Mapping[str, Any],
) -> Dataset:
    """Read the tables that a schema needs, only the columns it names, and check them.

    Args:
        interactions: file of events.
        users: file of users; may be left out if the schema has no user features.
        items: the same for items.
        schema: a `Schema`, or the values of one.

    Raises:
        DataError: as `read_table` and `Dataset.of`; the message names the file.
    """
    schema = schema if isinstance(schema, Schema) else Schema.parse(schema)
    optional = [] if schema.duration is None else [schema.duration]
    events = _read_side(interactions, schema.interaction_columns(), optional)
    users_table = None if users is None else _read_side(users, [schema.user, *schema.users], [])
    items_table = None
    if items is not None:
        items_table = _read_side(items, [schema.item, *schema.items, *schema.display], optional)
    sources = {"interactions": interactions, "users": users, "items": items}
    return Dataset.of(
        events,
        users_table,
        items_table,
        schema=schema,
        sources={name: str(path) for name, path in sources.items() if path is not None},
    )


def table_files(folder: str | Path) -> list[Path]:
    """Return the files in a folder that `read_table` can read, by name."""
    known = (*SEPARATORS, *_PARQUET, *_RECBOLE)
    return sorted(path for path in Path(folder).iterdir() if path.is_file() and _plain_suffix(path) in known)


def column_names(path: str | Path) -> list[str]:
    """Return the names of a table's columns without reading the rows; errors as `read_table`."""
    path = Path(path).expanduser()
    suffix = _suffix(path)
    try:
        if suffix in _RECBOLE:
            return list(recbole_types(path))
        return list(_parquet_schema(path)) if suffix in _PARQUET else header_names(path, suffix)
    except OSError as error:
        raise unreadable(path, error) from None


def _read_side(path: str | Path, wanted: Sequence[str], optional: Sequence[str]) -> pl.DataFrame:
    present = column_names(path) if optional else []
    return read_table(path, [*wanted, *(name for name in optional if name in present)])


def _suffix(path: Path) -> str:
    """Return the suffix that says how to read the file, having checked that there is one."""
    known = [*SEPARATORS, *_PARQUET, *_RECBOLE]
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if _plain_suffix(p) in known)[:10]
        listed = f"; it has {', '.join(inside)}" if inside else ""
        raise DataError(f"a table is a file: {path} is a folder{listed}. Name the file in it.")
    if not path.exists():
        folder = path.parent
        if not folder.is_dir():
            raise DataError(
                f"there is no file {path}: its folder {folder} doesn't exist either. Check the path."
            )
        hint = nearest(path.name, [p.name for p in folder.iterdir()])
        raise DataError(f"there is no file {path}.{hint or ' Check the path.'}")
    suffix = _plain_suffix(path)
    if suffix not in known:
        raise DataError(
            f"a table is one of {', '.join(known)} (CSV also with .gz): {path} has the suffix "
            f"'{path.suffix}'. Convert or rename the file."
        )
    return suffix


def _plain_suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _parquet_schema(path: Path) -> Mapping[str, pl.DataType]:
    try:
        return pl.read_parquet_schema(path)
    except PolarsError as error:
        raise _damaged(path, error) from None


def _read_parquet(path: Path, columns: Sequence[str] | None, dtypes: Dtypes) -> pl.DataFrame:
    names = list(_parquet_schema(path))
    wanted = names if columns is None else list(columns)
    require_columns(names, wanted, str(path))
    try:
        frame = pl.read_parquet(path, columns=wanted, glob=False, hive_partitioning=False)
    except PolarsError as error:
        raise _damaged(path, error) from None
    if not frame.height:
        raise DataError(f"a table needs at least one row: {path} has none. Check the file.")
    for name, dtype in dtypes.items():
        if name in wanted and frame.schema[name] != dtype:
            frame = frame.with_columns(_cast(frame.get_column(name), dtype, Where(str(path), name)))
    return frame.select(wanted)


def _cast(values: pl.Series, dtype: pl.DataType | type[pl.DataType], where: Where) -> pl.Series:
    try:
        found = values.cast(dtype, strict=False)
    except PolarsError:
        raise where.wrong_type(f"the column must be {dtype}", values, "Read it as another type") from None
    wrong = found.is_null() & values.is_not_null()
    if values.dtype.is_float() and dtype.is_integer():  # a cast would cut the fraction off
        wrong = wrong | (found.cast(values.dtype) != values)
    if wrong.any():
        row = wrong.arg_max() or 0
        rule = f"the column must be {dtype}, which {shown(values[row])} is not"
        raise where.fault(rule, "Correct the value, or read the column as another type", row + 1, values[row])
    return found


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a whole Parquet file ({reason}). Write or fetch it again.")
