"""Read tables from text, JSON lines, Parquet and RecBole files; errors state the place, the value and the
fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.core.urls import without_secrets
from twotower.core.where import AmbiguousError
from twotower.data.checks import check_interactions
from twotower.data.dataset import Dataset
from twotower.data.delimited import Dtypes
from twotower.data.duplicates import deduplicate
from twotower.data.raw_text import UTF8
from twotower.data.reading import Reading, names_in, read_file
from twotower.data.streaming.source import TableSource
from twotower.data.table_files import files_of_table, table_files
from twotower.data.table_parts import read_parts, with_partition_types
from twotower.errors import ConfigError, DataError

__all__ = ["column_names", "read_dataset", "read_table", "table_files"]


def read_table(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    dtypes: Dtypes | None = None,
    names: Sequence[str] | None = None,
    encoding: str = UTF8,
    ids: Sequence[str] = (),
) -> pl.DataFrame:
    """Read a table from a file, a folder of files, or a pattern such as ``events/*.parquet``.

    The suffix tells the format: .csv, .tsv, .txt, .dat, .jsonl, .ndjson, .json, RecBole's .inter, .user and
    .item (each perhaps with .gz, .bz2, .xz, .zst or .zip), .parquet. Compression and Parquet are also
    recognised by the first bytes.

    Args:
        path: the file, folder or pattern. Folders ``name=value`` within a folder are columns (Hive). It may
            be at an address that fsspec knows, such as ``s3://bucket/events/*.parquet``.
        columns: names of the columns to read, in this order; None for all.
        dtypes: dtypes of some of them. The others are as stored (Parquet), or Int64, Float64, Boolean or
            String by their values (text). Columns that aren't read are ignored. If any whole number of a text
            column is a code (``007``, ``+7``, more than 63 bits), the column is read as strings.
        names: names of all columns of a text file that has no header.
        encoding: encoding of text files, such as ``latin-1``; UTF-16 is detected by its byte order mark.
        ids: columns of ids, which also become strings if any number of a text file is in quotes.

    Returns:
        One row per line or record, at least one; several files are ordered by name.

    Raises:
        DataError: no such file, an unknown suffix, a missing column, no rows, a damaged or ragged file, text
            of another encoding, a value of the wrong dtype, files that don't fit together; an address that
            may not be read, or whose connection was lost.
        MissingExtraError: the package for an address is not installed.
    """
    check_process()
    parts = files_of_table(path)
    wanted = None if columns is None else list(dict.fromkeys(columns))
    reading = Reading(dtypes or {}, names, encoding, ids)
    if len(parts) > 1:
        return read_parts(without_secrets(str(path)), parts, wanted, reading)
    frame = read_file(parts[0], wanted, reading)
    return with_partition_types(frame, parts, reading) if parts[0].partition else frame


def read_dataset(
    interactions: str | Path,
    users: str | Path | None = None,
    items: str | Path | None = None,
    *,
    schema: Schema | Mapping[str, Any],
    columns: Mapping[str, Sequence[str]] | None = None,
    encoding: str | Mapping[str, str] = UTF8,
    keep: Sequence[str] = (),
    repeats: str | None = None,
) -> Dataset:
    """Read the tables that a schema needs, only the named columns, and check them.

    Args:
        interactions: file of events, or anything that `read_table` takes.
        users: file of users; may be left out if the schema has no user features, or if they are columns of
            the interactions.
        items: the same for items.
        schema: a `Schema`, or the values of one.
        columns: for text files without a header, the names of all columns by table (``interactions``,
            ``users``, ``items``).
        encoding: of text files; or by table, of those that are not UTF-8.
        keep: further columns of the interactions to keep, such as one that names the set of a row.
        repeats: how to merge rows of one user, item and time that contradict each other (see `split`);
            duplicates are dropped too. None to leave both to the split.

    Raises:
        DataError: as `read_table` and `Dataset.of`; the message names the file.
    """
    schema = schema if isinstance(schema, Schema) else Schema.parse(schema)
    reads = reads_of(interactions, users, items, schema, columns or {}, encoding, keep)
    events, users_table, items_table = (
        None if read is None else read_table(read.path, read.columns, **read.options)
        for read in (reads[name] for name in ("interactions", "users", "items"))
    )
    assert events is not None
    sources = {"interactions": interactions, "users": users, "items": items}
    try:
        data = Dataset.of(
            events,
            users_table,
            items_table,
            schema=schema,
            sources={name: without_secrets(str(path)) for name, path in sources.items() if path is not None},
        )
    except DataError:
        if reads["interactions"] is not None:
            _check_each_file(reads["interactions"], schema)
        raise
    return data if repeats is None else deduplicate(data, repeats)


def _check_each_file(read: TableRead, schema: Schema) -> None:
    """Raise the error of the first wrong row of a folder or pattern, by its file and its row there."""
    source = TableSource(read.path, **read.options)
    if [str(file.path) for file in source.files] == [source.path]:
        return
    for batch in source.batches(read.columns):
        with suppress(AmbiguousError):  # what only all rows together tell is no fault of a file
            check_interactions(batch.frame, schema, batch.file, first=batch.first, part=True)


@dataclass(frozen=True)
class TableRead:
    """How one of the tables of a schema is read.

    Attributes:
        path: of the table.
        columns: the columns to read.
        options: the other arguments of `read_table`.
    """

    path: str | Path
    columns: list[str]
    options: dict[str, Any]


_TABLES = ("interactions", "users", "items")


def reads_of(
    interactions: str | Path,
    users: str | Path | None,
    items: str | Path | None,
    schema: Schema,
    columns: Mapping[str, Sequence[str]],
    encoding: str | Mapping[str, str] = UTF8,
    keep: Sequence[str] = (),
) -> dict[str, TableRead | None]:
    """Return how each table is read, by its name; None for a table that is not given.

    Args: as in `read_dataset`.
    """
    encodings = dict.fromkeys(_TABLES, encoding) if isinstance(encoding, str) else encoding
    for given, keys in (("columns", columns), ("encoding", encodings)):
        unknown = next((name for name in keys if name not in _TABLES), None)
        if unknown is not None:
            raise ConfigError(f"the keys of {given} must be interactions, users or items, got {unknown!r}")
    ids = {
        schema.user: schema.user_type,
        schema.item: schema.item_type,
        schema.users_id or schema.user: schema.user_type,
        schema.items_id or schema.item: schema.item_type,
    }

    def read(
        path: str | Path | None, table: str, wanted: Sequence[str], optional: Sequence[str]
    ) -> TableRead | None:
        if path is None:
            return None
        names, its = columns.get(table), encodings.get(table, UTF8)
        present = column_names(path, names=names, encoding=its) if optional else []
        some = [name for name in optional if name in present and name not in wanted]
        own = [name for name in ids if name in wanted]
        options = {
            "dtypes": {name: pl.String for name in own if ids[name] != "auto"},
            "names": names,
            "encoding": its,
            "ids": own,
        }
        return TableRead(path, [*wanted, *some], options)

    duration = [] if schema.duration is None else [schema.duration]
    features = {"users": [*schema.users], "items": [*schema.items, *schema.display, *schema.daily]}
    merged = [
        name
        for table, path in (("users", users), ("items", items))
        if path is None
        for name in features[table]
    ]
    return {
        "interactions": read(
            interactions, "interactions", [*schema.interaction_columns(), *keep], [*duration, *merged]
        ),
        "users": read(users, "users", [schema.users_id or schema.user, *features["users"]], []),
        "items": read(items, "items", [schema.items_id or schema.item, *features["items"]], duration),
    }


def column_names(path: str | Path, *, names: Sequence[str] | None = None, encoding: str = UTF8) -> list[str]:
    """Return the names of a table's columns (those in any of its files); arguments as in `read_table`."""
    found: dict[str, None] = {}
    for part in files_of_table(path):
        found |= dict.fromkeys(names_in(part, Reading({}, names, encoding)))
    return list(found)
