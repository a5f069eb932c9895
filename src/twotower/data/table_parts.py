"""A table in several files, concatenated as if they were one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from polars.exceptions import PolarsError

from twotower.core.where import shown
from twotower.core.wording import count_of
from twotower.data.cells import by_values
from twotower.data.json_lines import SUFFIXES as JSON
from twotower.data.raw_text import EmptyTable
from twotower.data.reading import Reading, names_in, read_file
from twotower.data.table_files import PARQUET, TableFile
from twotower.errors import DataError

_LONG = 10**15
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
"""A canonical integer, written back as it was read."""


def read_parts(
    source: str, files: Sequence[TableFile], columns: list[str] | None, how: Reading
) -> pl.DataFrame:
    """Read the files of a table.

    All files must have the columns that are read, in any order; without ``columns`` all must have the same
    columns. Numbers get a type that fits all files. If a column of text files has numbers in one file and
    text in another, it is text, with all values as written. Files without rows are skipped.

    Raises:
        EmptyTable: no file has a row.
        DataError: a file lacks a column, has one of an incompatible type, or can't be read.
    """
    wanted = common_columns(files, how) if columns is None else columns
    frames, kept = [], []
    for file in files:
        try:
            frames.append(read_file(file, wanted, how))
            kept.append(file)
        except EmptyTable:
            continue
    if not frames:
        raise no_file_has_rows(source, files)
    text = kept[0].suffix not in (*PARQUET, *JSON)
    differing = [name for name in wanted if _differ([frame.get_column(name) for frame in frames])]
    again = [name for name in differing if name not in how.dtypes]
    if text and again:
        strings = replace(how, dtypes={**how.dtypes, **dict.fromkeys(again, pl.String)})
        frames = [
            frame.with_columns(read_file(file, again, strings).get_columns())
            for frame, file in zip(frames, kept, strict=True)
        ]
    elif differing:
        raise clash(differing[0], kept, frames)
    whole = concatenated(source, frames)
    if text:
        columns_again = (whole.get_column(name) for name in again)
        whole = whole.with_columns(by_values(cells, ids=cells.name in how.ids) for cells in columns_again)
    return with_partition_types(whole, kept, how)


def no_file_has_rows(source: str, files: Sequence[TableFile]) -> EmptyTable:
    """Return the error for a table without rows."""
    return EmptyTable(
        f"a table needs at least one row, and none of the {count_of(len(files), 'file')} of {source} has any."
    )


def concatenated(source: str, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all files of a table, numbers in a type that fits all.

    Raises:
        DataError: the types are incompatible.
    """
    try:
        return pl.concat([_plain(frame) for frame in frames], how="vertical_relaxed")
    except PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the types in the files of {source} are incompatible ({reason}). Write them with one type."
        ) from None


def with_partition_types(frame: pl.DataFrame, files: Sequence[TableFile], how: Reading) -> pl.DataFrame:
    """Return the columns of partitions, as integers if all their values are canonical integers."""
    changed = []
    for name in dict.fromkeys(name for file in files for name, _ in file.partition):
        values = {value for file in files for known, value in file.partition if known == name}
        if name not in frame.columns or frame.schema[name] != pl.String:
            continue
        if name in how.dtypes:
            changed.append(pl.col(name).cast(how.dtypes[name]))
        elif all(value is None or _WHOLE.fullmatch(value) for value in values):
            changed.append(pl.col(name).cast(pl.Int64))
    return frame.with_columns(changed)


def common_columns(files: Sequence[TableFile], how: Reading) -> list[str]:
    """Return the names of the columns, which all files must have."""
    first = names_in(files[0], how)
    for file in files[1:]:
        names = names_in(file, how)
        if set(names) != set(first):
            one = next(name for name in [*first, *names] if (name in first) != (name in names))
            has, lacks = (files[0], file) if one in first else (file, files[0])
            raise DataError(
                f"all files of a table must have the same columns: {has.path} has '{one}' and {lacks.path} "
                "does not. Name one of the files, a pattern that matches the files of one table, or the "
                "columns to read."
            )
    return first


def family(dtype: pl.DataType) -> str:
    """Return the kind of a dtype, which must be the same in all files; null fits all."""
    if dtype.is_numeric():
        return "a number"
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return "text"
    if dtype.is_temporal():
        return "a date or time"
    return {pl.Boolean: "true or false", pl.Binary: "bytes"}.get(
        dtype.base_type(), "a list" if dtype.is_nested() else str(dtype)
    )


def _differ(columns: Sequence[pl.Series]) -> bool:
    """Return whether the values of a column can't be concatenated unchanged, ignoring nulls."""
    known = [values for values in columns if values.dtype != pl.Null]
    if len({family(values.dtype) for values in known}) > 1:
        return True
    # Fractions in another file make all values floats, which can't represent long integers exactly.
    return any(values.dtype.is_float() for values in known) and any(has_long(values) for values in known)


def has_long(values: pl.Series) -> bool:
    """Return whether a column has whole numbers that floats may not represent exactly."""
    return values.dtype.is_integer() and bool((values.cast(pl.Float64).abs() >= _LONG).any())


def clash(name: str, files: Sequence[TableFile], frames: Sequence[pl.DataFrame]) -> DataError:
    """Return the error for a column of several types; the frames are the files, or their first rows."""
    kinds = [family(frame.schema[name]) for frame in frames]
    known = [place for place, frame in enumerate(frames) if frame.schema[name] != pl.Null]
    others = [place for place in known if kinds[place] != kinds[known[0]]]
    two = [known[0], others[0] if others else known[-1]]
    values = [frames[place].get_column(name).drop_nulls().head(1).to_list() for place in two]
    told = [f"{files[place].path} has {kinds[place]}" for place in two]
    told = [f"{text}, {shown(value[0])}" if value else text for text, value in zip(told, values, strict=True)]
    return DataError(
        f"a column must have one type in all files of a table: column '{name}' of {told[0]}; of {told[1]}. "
        "Write the files with one type."
    )


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
