"""JSON lines: one record per line, or one array of records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import IO, Any

import polars as pl
from polars.exceptions import PolarsError

from twotower.core.where import shown
from twotower.data.checks import require_columns
from twotower.data.raw_text import EmptyTable, RawText
from twotower.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json")

_CHECKED_LINES = 1000
_CHECKED_BYTES = 2**22
"""How much of a file is checked for repeated keys: lines, or the size of one array."""


def read_json_lines(text: RawText, columns: Sequence[str] | None) -> pl.DataFrame:
    """Read columns of a file of JSON records. A key missing from a record is null.

    Integers too large for int64 become strings, as do numbers in a column that also has strings.

    Args:
        text: of the file.
        columns: names to read, in the order wanted; none for all.

    Raises:
        DataError: a line is not a record, a column has values of several types, or there are no records; the
            message says where.
    """
    frame = _scanned(text)
    wanted = frame.collect_schema().names() if columns is None else list(columns)
    require_columns(frame.collect_schema().names(), wanted, str(text.path))
    try:
        found = frame.select(wanted).collect()
    except (PolarsError, OverflowError) as error:
        raise json_fault(text, str(error)) from None
    if not found.height:
        raise EmptyTable(f"a table needs at least one row, and {text.path} has none. Check the file.")
    return found.with_columns(pl.col(pl.Int128).cast(pl.String))


def json_names(text: RawText) -> list[str]:
    """Return the names of the columns: every key of any record."""
    return _scanned(text).collect_schema().names()


def _scanned(text: RawText) -> pl.LazyFrame:
    start = json_start(text)
    with text.open() as stream:
        marked = text.content is None and not start.startswith(b"{")
        content = stream.read().removeprefix(b"\xef\xbb\xbf") if marked else None
        stream.seek(0)
        check_keys(stream, str(text.path), one_array=start.lstrip().startswith(b"["))
    source = text.source if content is None else content
    try:
        if start.lstrip().startswith(b"["):
            whole = pl.read_json(source, infer_schema_length=None)
            if not whole.width:
                raise EmptyTable(f"a table needs at least one row, and {text.path} has none. Check the file.")
            return whole.lazy()
        frame = pl.scan_ndjson(source, infer_schema_length=None)
        frame.collect_schema()
    except (PolarsError, OverflowError) as error:
        raise json_fault(text, str(error)) from None
    else:
        return frame


def json_start(text: RawText) -> bytes:
    """Return the beginning of a text.

    Raises:
        EmptyTable: the file is empty.
    """
    with text.open() as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf")
    if not start.strip():
        raise EmptyTable(
            f"a table needs at least one row, and {text.path} is empty. Check the file, or fetch it again."
        )
    return start


def check_keys(stream: IO[bytes], path: str, *, one_array: bool) -> None:
    """Raise `DataError` if a record has a key twice, of which readers would silently use the last.

    Only the start of a file is checked: files with such records usually have them everywhere.
    """
    if one_array:
        content = stream.read(_CHECKED_BYTES + 1)
        lines = [content] if len(content) <= _CHECKED_BYTES else []
    else:
        lines = list(islice(stream, _CHECKED_LINES))
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line.decode("utf-8-sig"), object_pairs_hook=_distinct)
        except _RepeatedKey as error:
            where = path if one_array else f"{path}, line {number:,}"
            raise DataError(
                f"a JSON record must have each key once: {where}, has '{error}' twice. Rename or remove one."
            ) from None
        except (ValueError, RecursionError):
            return  # reading finds the fault


class _RepeatedKey(Exception):
    """A key that a JSON object has twice."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for name in names if names.count(name) > 1))
    return found


def json_fault(text: RawText, reason: str) -> DataError:
    """Return the error for a text that can't be read: what is wrong with the first invalid line."""
    path = text.path
    kinds: dict[str, tuple[str, int]] = {}
    with text.open() as stream:
        for number, data in enumerate(stream, 1):
            try:
                line = data.decode("utf-8-sig")
                record = json.loads(line) if line.strip() else {}
            except UnicodeDecodeError as error:
                return DataError(
                    f"tables are read as UTF-8: {path}, line {number:,}, has the invalid byte "
                    f"0x{data[error.start]:02x} at {error.start + 1}. Set [data] encoding, or save the "
                    "file as UTF-8."
                )
            except ValueError as error:
                return DataError(
                    f"every line must be one JSON record: {path}, line {number:,}, is invalid ({error}): "
                    f"{shown(line.rstrip())}. Correct the line."
                )
            if not isinstance(record, dict):
                return DataError(
                    f"every line must be one JSON record: {path}, line {number:,}, is {shown(record)}. "
                    'Write it as {"name": value, ...}.'
                )
            clash = _clash(record, kinds, number)
            if clash is not None:
                return DataError(
                    f"all values of a column must have one type: {path}, {clash}. Correct the values."
                )
    return DataError(f"{path} can't be read as JSON lines: {reason.splitlines()[0]}. Check the file.")


def _clash(record: Mapping[str, Any], kinds: dict[str, tuple[str, int]], line: int) -> str | None:
    for name, value in record.items():
        kind = _kind(value)
        if kind is None:
            continue
        known, first = kinds.setdefault(name, (kind, line))
        if known != kind and {known, kind} != {"a number", "a string"}:
            return f"column '{name}' is {known} in line {first:,} and {kind} in line {line:,}"
    return None


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "a record")
