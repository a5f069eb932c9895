"""The files of one table: a file, a folder of files, or a pattern such as ``events/*.parquet``.

A folder may have Hive partitions: a folder ``date=2020-07-05`` sets the column ``date`` for all files in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from twotower.data.delimited import SEPARATORS
from twotower.data.json_lines import SUFFIXES as JSON
from twotower.data.raw_text import PACKED
from twotower.data.recbole import SUFFIXES as RECBOLE
from twotower.errors import DataError, nearest

PARQUET: Final = (".parquet", ".pq")
KNOWN: Final = (*SEPARATORS, *PARQUET, *JSON, *RECBOLE)
"""Suffixes of tables; those of text may be followed by the suffix of a compression."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes:
        path: the file.
        suffix: its format, one of `KNOWN`.
        partition: names and values of the folders ``name=value`` around it; None for a missing value.
    """

    path: Path
    suffix: str
    partition: tuple[tuple[str, str | None], ...] = ()


def files_of_table(path: str | Path) -> list[TableFile]:
    """Return the files of a table, ordered by name (part-2 before part-10).

    Args:
        path: a file; a folder with files, perhaps in folders ``name=value``; or a pattern with ``*``, ``?``,
            ``[...]`` or ``**``. A file or folder with exactly that name takes precedence over a pattern.

    Raises:
        DataError: there is no such file, no table, or files of several types.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = parts_in(path)
        if not found:
            raise DataError(
                f"a folder must contain files of a table ({', '.join(KNOWN)}): {path} has none. Check the "
                "path."
            )
    elif path.exists():
        return [TableFile(path, _known(path))]
    elif has_magic(str(path)):
        matches = [Path(match) for match in glob(str(path), recursive=True)]
        found = [
            part
            for match in matches
            if not match.name.startswith((".", "_"))
            for part in (parts_in(match, _root(path)) if match.is_dir() else [_part(match, _root(path))])
        ]
        found = sorted(set(found), key=lambda part: _natural(part.path))
        if not found:
            raise DataError(f"there is no file that matches {path}. Check the pattern.")
    else:
        raise _missing(path)
    kinds = {part.suffix for part in found}
    if len(kinds) > 1:
        raise DataError(
            f"all files of a table must have one type: {path} has {', '.join(sorted(kinds))} "
            f"({', '.join(part.path.name for part in found[:10])}). Name one of the files, or a pattern."
        )
    return found


def parts_in(folder: Path, root: Path | None = None) -> list[TableFile]:
    """Return the tables in a folder and, recursively, in its folders ``name=value``.

    Args:
        folder: the folder.
        root: the folder below which ``name=value`` is a column; by default ``folder``.
    """
    root = root or folder
    found = []
    for path in folder.iterdir():
        if path.name.startswith((".", "_")):  # _SUCCESS, _metadata, .part-0.crc
            continue
        if path.is_dir():
            found += parts_in(path, root) if "=" in path.name else []
        elif plain_suffix(path) in KNOWN:
            found.append(_part(path, root))
    return sorted(found, key=lambda part: _natural(part.path))


def table_files(folder: str | Path) -> list[Path]:
    """Return the tables in a folder, ordered by name."""
    return sorted(path for path in Path(folder).iterdir() if path.is_file() and plain_suffix(path) in KNOWN)


def plain_suffix(path: Path) -> str:
    """Return the suffix of a file's format, without that of a compression."""
    name = path.name.lower()
    for packed in (*PACKED, ".zip"):
        name = name.removesuffix(packed)
    return Path(name).suffix


def _root(pattern: Path) -> Path:
    """Return the folder at the beginning of a pattern."""
    return next(folder for folder in pattern.parents if not has_magic(str(folder)))


def _part(path: Path, root: Path) -> TableFile:
    pairs = [name.partition("=") for name in path.relative_to(root).parts[:-1]]
    partition = tuple(
        (name, None if value == _NO_VALUE else unquote(value))
        for name, equals, value in pairs
        if equals and name
    )
    return TableFile(path, _known(path), partition)


def _known(path: Path) -> str:
    suffix = plain_suffix(path)
    if suffix in KNOWN:
        return suffix
    with path.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return PARQUET[0]
    raise DataError(
        f"a table must be one of {', '.join(KNOWN)} (text also with {', '.join(PACKED)}): {path} has the "
        f"suffix '{path.suffix}'. Convert or rename the file."
    )


def _missing(path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            f"there is no file {path}: its folder {folder} doesn't exist either. Check the path."
        )
    hint = nearest(path.name, [p.name for p in folder.iterdir()])
    return DataError(f"there is no file {path}.{hint or ' Check the path.'}")


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that orders part-2 before part-10."""
    return [
        (int(piece), "") if piece.isdecimal() else (-1, piece)
        for piece in re.split(r"(\d+)", path.as_posix())
    ]
