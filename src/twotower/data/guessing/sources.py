"""From paths to the tables there: files, patterns, and folders of tables or of the parts of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from twotower.data.guessing.tables import Table
from twotower.data.recbole import SUFFIXES, recbole_types
from twotower.data.table_files import parts_in, table_files
from twotower.data.tables import column_names, read_table
from twotower.errors import DataError

_NUMBERED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d+")
"""What differs between the names of the parts of one table."""


def read_tables(given: Sequence[Path]) -> list[Table]:
    """Read the tables that some paths name.

    Files of one folder with the same columns, whose names differ in numbers alone, are parts of one table.

    Args:
        given: files, patterns, or folders: of tables, or of folders with the parts of a table each.

    Raises:
        DataError: there is nothing, or a table can't be read.
    """
    found: dict[Path, bool] = {}  # whether it was named
    named = [path for path in given if not path.is_dir()]
    found |= dict.fromkeys(_with_parts_together(named), True)
    for folder in given:
        if folder.is_dir():
            found |= dict.fromkeys(_in_folder(folder), False)
    if not found:
        raise DataError(f"there is no table in {given[0]}; name the files, or a folder that holds them")
    return [_table(path, named=by_name) for path, by_name in found.items()]


def exists(path: Path) -> bool:
    """Say whether there is a file or folder, or a file that matches a pattern."""
    return path.exists() or (has_magic(str(path)) and bool(glob(str(path), recursive=True)))


def _table(path: Path, *, named: bool) -> Table:
    typed = path.suffix in SUFFIXES and path.is_file()
    return Table(path, read_table(path), recbole_types(path) if typed else {}, named)


def _in_folder(folder: Path) -> Iterator[Path]:
    files = table_files(folder)
    yield from _with_parts_together(files)
    folders = [
        path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith((".", "_"))
    ]
    if not files and any("=" in path.name for path in folders) and parts_in(folder):
        yield folder
    else:
        yield from (path for path in folders if parts_in(path))


def _with_parts_together(files: Sequence[Path]) -> Iterator[Path]:
    """Yield the files, and in place of the parts of one table the pattern that matches them alone."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent, _NUMBERED.sub("*", file.name)), []).append(file)
    for (folder, pattern), parts in groups.items():
        if len(parts) > 1 and sorted(folder.glob(pattern)) == sorted(parts) and _alike(parts):
            yield folder / pattern
        else:
            yield from parts


def _alike(parts: Sequence[Path]) -> bool:
    return len({tuple(column_names(part)) for part in parts}) == 1
