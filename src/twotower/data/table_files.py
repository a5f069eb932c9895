"""The files of one table: a file, a folder of files, or a pattern such as ``events/*.parquet``.

A folder may have Hive partitions: a folder ``date=2020-07-05`` sets the column ``date`` for all files in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar
from urllib.parse import unquote

from twotower.core.urls import is_url
from twotower.data.delimited import SEPARATORS
from twotower.data.json_lines import SUFFIXES as JSON
from twotower.data.raw_text import PACKED
from twotower.data.recbole import SUFFIXES as RECBOLE
from twotower.data.remote import Location, RemoteFile, remote
from twotower.errors import DataError, nearest

PARQUET: Final = (".parquet", ".pq")
KNOWN: Final = (*SEPARATORS, *PARQUET, *JSON, *RECBOLE)
"""Suffixes of tables; those of text may be followed by the suffix of a compression."""
Pattern = TypeVar("Pattern", Path, PurePosixPath)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes:
        path: the file.
        suffix: its format, one of `KNOWN`.
        partition: names and values of the folders ``name=value`` around it; None for a missing value.
    """

    path: Location
    suffix: str
    partition: tuple[tuple[str, str | None], ...] = ()


def files_of_table(path: str | Path) -> list[TableFile]:
    """Return the files of a table, ordered by name (part-2 before part-10).

    Args:
        path: a file; a folder with files, perhaps in folders ``name=value``; or a pattern with ``*``, ``?``,
            ``[...]`` or ``**``. A file or folder with exactly that name takes precedence over a pattern.
            Each may be at an address, such as ``s3://bucket/events``.

    Raises:
        DataError: there is no such file, no table, or files of several types.
        ConfigError, MissingExtraError: an address has a protocol that can't be used here.
    """
    if is_url(path):
        return _remote_files(remote(str(path)))
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
    return _of_one_type(path, found)


def _remote_files(place: RemoteFile) -> list[TableFile]:
    if place.is_dir():
        found = _remote_parts(place, 0)
    elif place.exists():
        return [TableFile(place, _known(place))]
    elif has_magic(place.key):
        depth = len(_root(PurePosixPath(place.key)).parts)
        found = [
            part
            for match, is_folder in place.matches()
            if not match.name.startswith((".", "_"))
            for part in (_remote_parts(match, depth) if is_folder else [_remote_part(match, depth)])
        ]
    else:
        raise DataError(f"there is no file {place}. Check the address.")
    if not found:
        raise DataError(
            f"a folder or pattern must have files of a table ({', '.join(KNOWN)}): {place} has none. Check "
            "the address."
        )
    return _of_one_type(place, sorted(set(found), key=lambda part: _natural(part.path)))


def _remote_parts(folder: RemoteFile, depth: int) -> list[TableFile]:
    """Return the tables in a folder and in its folders ``name=value``, as `parts_in`."""
    depth = depth or len(PurePosixPath(folder.key).parts)
    return [
        _remote_part(file, depth)
        for file, names in folder.below()
        if not any(name.startswith((".", "_")) for name in names)
        and all("=" in name for name in names[:-1])
        and plain_suffix(file) in KNOWN
    ]


def _remote_part(file: RemoteFile, depth: int) -> TableFile:
    return TableFile(file, _known(file), _partition(PurePosixPath(file.key).parts[depth:-1]))


def _of_one_type(path: Location, found: list[TableFile]) -> list[TableFile]:
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


def plain_suffix(path: Location) -> str:
    """Return the suffix of a file's format, without that of a compression."""
    name = path.name.lower()
    for packed in (*PACKED, ".zip"):
        name = name.removesuffix(packed)
    return Path(name).suffix


def _root(pattern: Pattern) -> Pattern:
    """Return the folder at the beginning of a pattern."""
    return next(folder for folder in pattern.parents if not has_magic(str(folder)))


def _part(path: Path, root: Path) -> TableFile:
    return TableFile(path, _known(path), _partition(path.relative_to(root).parts[:-1]))


def _partition(folders: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    pairs = [name.partition("=") for name in folders]
    return tuple(
        (name, None if value == _NO_VALUE else unquote(value))
        for name, equals, value in pairs
        if equals and name
    )


def _known(path: Location) -> str:
    suffix = plain_suffix(path)
    if suffix in KNOWN:
        return suffix
    if begins_as_parquet(path):
        return PARQUET[0]
    raise DataError(
        f"a table must be one of {', '.join(KNOWN)} (text also with {', '.join(PACKED)}): {path} has the "
        f"suffix '{path.suffix}'. Convert or rename the file."
    )


def begins_as_parquet(path: Location) -> bool:
    """Return whether the first bytes of a file are those of Parquet."""
    with path.open("rb") if isinstance(path, Path) else path.ranges() as stream:
        return stream.read(4) == b"PAR1"


def _missing(path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            f"there is no file {path}: its folder {folder} doesn't exist either. Check the path."
        )
    hint = nearest(path.name, [p.name for p in folder.iterdir()])
    return DataError(f"there is no file {path}.{hint or ' Check the path.'}")


def _natural(path: Location) -> list[tuple[int, str]]:
    """Return a sort key that orders part-2 before part-10."""
    return [
        (int(piece), "") if piece.isdecimal() else (-1, piece)
        for piece in re.split(r"(\d+)", path.as_posix())
    ]
