"""Read the tables at some paths: files, patterns, and folders of tables or of the files of one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import TypeVar

import polars as pl

from twotower.audit.guessing.labels import Nature, nature_of, speaks_of_steps
from twotower.audit.guessing.tables import Table, can_be_id
from twotower.core.urls import is_url
from twotower.data.header import NoHeader
from twotower.data.raw_text import UTF8
from twotower.data.recbole import SUFFIXES, recbole_types
from twotower.data.remote import Location, RemoteFile, remote
from twotower.data.table_files import KNOWN, parts_in, plain_suffix, table_files
from twotower.data.tables import column_names, read_table
from twotower.data.time_text import looks_like_times
from twotower.errors import DataError

T = TypeVar("T")
_NUMBERED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d+")
"""What may differ between the names of the files of one table."""
_ENCODINGS = (UTF8, "cp1252", "latin-1")
"""Encodings that are tried in order."""


def read_tables(given: Sequence[Location]) -> list[Table]:
    """Read the tables at some paths.

    Files of one folder with the same columns whose names differ only in numbers are one table.

    Args:
        given: files, patterns, or folders: of tables, or of folders with the files of one table each.

    Raises:
        DataError: there is nothing, or a table can't be read.
    """
    return [_decoded(partial(_table, path, named=named)) for path, named in _paths(given)]


def _decoded(read: Callable[[str], T]) -> T:
    """Return what is read in the first encoding in which it can be read."""
    failure: DataError | None = None
    for encoding in _ENCODINGS:
        try:
            return read(encoding)
        except DataError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def place(path: str | Path) -> Location:
    """Return the file, folder or pattern at a path or an address."""
    return remote(str(path)) if is_url(path) else Path(path).expanduser()


def exists(path: Location) -> bool:
    """Return whether a file or folder exists, or a file matches a pattern."""
    if isinstance(path, RemoteFile):
        return path.exists() or (has_magic(path.key) and bool(path.matches()))
    return path.exists() or (has_magic(str(path)) and bool(glob(str(path), recursive=True)))


def _paths(given: Sequence[Location]) -> list[tuple[Location, bool]]:
    """Return the tables, and whether each was named explicitly."""
    found: dict[Location, bool] = {}
    named = [path for path in given if not path.is_dir()]
    local = [path for path in named if isinstance(path, Path)]
    found |= dict.fromkeys(_with_parts_together(local), True)
    found |= dict.fromkeys((path for path in named if not isinstance(path, Path)), True)
    for folder in given:
        if isinstance(folder, RemoteFile) and folder.is_dir():
            found |= dict.fromkeys(_in_remote_folder(folder), False)
        elif isinstance(folder, Path) and folder.is_dir():
            found |= dict.fromkeys(_in_folder(folder), False)
    if not found:
        raise DataError(f"there is no table in {given[0]}; name the files, or a folder that contains them")
    return list(found.items())


def _table(path: Location, encoding: str, *, named: bool) -> Table:
    typed = path.suffix in SUFFIXES and path.is_file()
    declared = recbole_types(path) if typed else {}
    try:
        return Table(path, read_table(str(path), encoding=encoding), declared, named, encoding=encoding)
    except NoHeader as error:
        plain = [f"column_{place}" for place in range(1, error.width + 1)]
        frame = read_table(str(path), names=plain, encoding=encoding)
        columns = _names_by_values(frame)
        if columns is None:
            raise
        frame = frame.rename(dict(zip(plain, columns, strict=True)))
        return Table(path, frame, {}, named, tuple(columns), encoding=encoding)


def _names_by_values(frame: pl.DataFrame) -> list[str] | None:
    """Name the columns of interactions without a header; None if there are not two columns of ids.

    The first column with ids is taken as the user and the second as the item, as in most files.
    """
    names, ids = [], ["user_id", "item_id"]
    for place, column in enumerate(frame.iter_columns(), 1):
        name = _what(column)
        if name == "id" and ids:
            name = ids.pop(0)
        names.append(f"column_{place}" if name == "id" or name in names else name)
    return None if ids else names


def _what(column: pl.Series) -> str:
    known = column.drop_nulls()
    if looks_like_times(known.head(1000)):
        return "timestamp"
    if known.dtype == pl.String and known.n_unique() <= 20 and speaks_of_steps(known.unique().to_list()):
        return "event"
    if known.dtype.is_numeric() and 1 < known.n_unique() <= 11:
        nature = nature_of("rating", known.cast(pl.Float64).to_numpy())
        if nature in (Nature.SCALE, Nature.YES_NO):
            return "rating"
    return "id" if can_be_id(column) else "value"


def _in_folder(folder: Path) -> Iterator[Path]:
    files = table_files(folder)
    yield from _with_parts_together(files)
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]
    if not files and any("=" in path.name for path in inside) and parts_in(folder):
        yield folder
    else:
        yield from (path for path in inside if parts_in(path))


def _in_remote_folder(folder: RemoteFile) -> Iterator[RemoteFile]:
    """Yield the tables in a folder at an address, as `_in_folder`."""
    shown = [(file, names) for file, names in folder.below() if not any(name[0] in "._" for name in names)]
    files = [file for file, names in shown if len(names) == 1 and plain_suffix(file) in KNOWN]
    groups: dict[str, list[RemoteFile]] = {}
    for file in files:
        groups.setdefault(_NUMBERED.sub("*", file.name), []).append(file)
    for pattern, parts in groups.items():
        whole = folder.inside(pattern)
        together = len(parts) > 1 and {part for part, _ in whole.matches()} == set(parts)
        if together and len({_columns(str(part)) for part in parts}) == 1:
            yield whole
        else:
            yield from parts
    inside = sorted({names[0] for _, names in shown if len(names) > 1})
    if not files and any("=" in name for name in inside):
        yield folder
    else:
        for name in inside:
            if any(plain_suffix(file) in KNOWN for file, names in shown if names[0] == name):
                yield folder.inside(name)


def _columns(part: str | Path) -> tuple[str, ...]:
    return tuple(_decoded(lambda encoding: column_names(part, encoding=encoding)))


def _with_parts_together(files: Sequence[Path]) -> Iterator[Path]:
    """Yield the files; several files of one table are replaced by a pattern that matches exactly them."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent, _NUMBERED.sub("*", file.name)), []).append(file)
    for (folder, pattern), parts in groups.items():
        together = len(parts) > 1 and sorted(folder.glob(pattern)) == sorted(parts)
        if together and len({_columns(part) for part in parts}) == 1:
            yield folder / pattern
        else:
            yield from parts
