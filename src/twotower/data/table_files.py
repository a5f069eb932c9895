"""The files of one table: a file, a folder of parts, or a pattern such as ``events/*.parquet``.

A folder may be partitioned as Hive does it: a folder ``date=2020-07-05`` says the value of the column
``date`` for all files in it.
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
"""Suffixes of tables, those of text perhaps followed by that of a compression."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes:
        path: the file.
        suffix: what is in it: one of `KNOWN`.
        partition: names and values of the folders ``name=value`` that it is in; none for a missing value.
    """

    path: Path
    suffix: str
    partition: tuple[tuple[str, str | None], ...] = ()


def files_of_table(path: str | Path) -> list[TableFile]:
    """Return the files of a table, parts in the order of their names (part-2 before part-10).

    Args:
        path: a file; a folder with parts, perhaps in folders ``name=value``; or a pattern with ``*``, ``?``,
            ``[...]`` or ``**``. A file or folder of that very name is taken before a pattern.

    Raises:
        DataError: there is no such file, none that is a table, or parts of several kinds.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = parts_in(path)
        if not found:
            raise DataError(
                f"a folder of parts holds tables ({', '.join(KNOWN)}): {path} holds none. Check the path."
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
            f"the parts of a table are files of one kind: {path} has {', '.join(sorted(kinds))} "
            f"({', '.join(part.path.name for part in found[:10])}). Name one of the files, or a pattern."
        )
    return found


def parts_in(folder: Path, root: Path | None = None) -> list[TableFile]:
    """Return the tables in a folder and in the folders ``name=value`` in it, however deep.

    Args:
        folder: where to look.
        root: the folder below which ``name=value`` is a column; this one when left out.
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
    """Return the files in a folder that are tables, by name."""
    return sorted(path for path in Path(folder).iterdir() if path.is_file() and plain_suffix(path) in KNOWN)


def plain_suffix(path: Path) -> str:
    """Return the suffix that says what is in a file, without that of a compression."""
    name = path.name.lower()
    for packed in (*PACKED, ".zip"):
        name = name.removesuffix(packed)
    return Path(name).suffix


def _root(pattern: Path) -> Path:
    """Return the folder that a pattern begins with."""
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
        f"a table is one of {', '.join(KNOWN)} (text also with {', '.join(PACKED)}): {path} has the suffix "
        f"'{path.suffix}'. Convert or rename the file."
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
    """Return what orders part-2 before part-10."""
    return [
        (int(piece), "") if piece.isdecimal() else (-1, piece)
        for piece in re.split(r"(\d+)", path.as_posix())
    ]
