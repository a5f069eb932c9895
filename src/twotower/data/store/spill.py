"""`Spill`: interactions on disk in the order of the files, while a store is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, DROPPED = 0, 1, 2, 4
"""The set of a row; `DROPPED` is added to that of a row that is dropped."""


class SpilledColumn:
    """A column of raw values, appended to and read part by part."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path, self.dtype = path, dtype
        self._file: IO[bytes] = path.open("wb+")

    def append(self, values: NDArray[Any], dtype: np.dtype[Any] | None = None) -> None:
        """Write the next values; all are widened if these need a wider type."""
        wider = np.result_type(self.dtype, dtype or self.dtype)
        if wider != self.dtype:
            self._widen(wider)
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Return the values from ``first`` up to ``last``."""
        self._file.flush()
        self._file.seek(first * self.dtype.itemsize)
        return np.fromfile(self._file, self.dtype, last - first)

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Overwrite the values from ``first`` on, or write them there in advance."""
        self._file.seek(first * self.dtype.itemsize)
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)

    def scatter(self, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Overwrite single values."""
        self._file.flush()
        column = np.memmap(self.path, self.dtype, "r+")
        column[rows] = values
        column.flush()

    def close(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self.path.unlink()

    def _widen(self, dtype: np.dtype[Any]) -> None:
        self._file.flush()
        rows = self.path.stat().st_size // self.dtype.itemsize
        wide = SpilledColumn(self.path.with_suffix(".wide"), dtype)
        for first in range(0, rows, Spill.block):
            wide.append(self.read(first, min(first + Spill.block, rows)))
        self._file.close()
        wide.path.replace(self.path)
        self._file, self.dtype = wide._file, dtype


class Spill:
    """Columns of n interactions: rows of users and of items as their vocabularies gave them, and roles.

    Attributes:
        columns: ``user`` and ``item``, int32, and the roles of a store -> the column.
        part: uint8 (n,), the set of each row; in memory.
    """

    block: ClassVar[int] = 1 << 20
    """Rows that are read at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns: dict[str, SpilledColumn] = {}
        self.part = np.empty(0, dtype=np.uint8)
        self._parts: list[NDArray[np.uint8]] = []
        self.rows = 0

    def append(self, part: NDArray[np.uint8], columns: Mapping[str, NDArray[Any]]) -> None:
        """Write the next interactions; a column takes the type of the parts that holds all values."""
        for name, values in columns.items():
            if name not in self.columns:
                self.columns[name] = SpilledColumn(self.folder / f"{name}.raw", values.dtype)
            self.columns[name].append(values, values.dtype)
        self._parts.append(part)
        self.rows += len(part)

    def finish(self) -> None:
        """Bring the sets of all rows together."""
        self.part = np.concatenate([self.part, *self._parts])
        self._parts.clear()

    def blocks(self, *names: str) -> Iterator[tuple[int, tuple[NDArray[Any], ...]]]:
        """Yield the first row of each block, and the columns of its rows."""
        for first in range(0, self.rows, self.block):
            last = min(first + self.block, self.rows)
            yield first, tuple(self.columns[name].read(first, last) for name in names)

    def rows_of(self, part: int, *names: str) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield the columns of the rows of one set, block by block."""
        for first, columns in self.blocks(*names):
            mine = self.part[first : first + self.block] == part
            yield tuple(values[mine] for values in columns)

    def counts(self, part: int) -> int:
        """Return the number of rows of a set."""
        return int(np.count_nonzero(self.part == part))

    def per_id(self, part: int | None, name: str, count: int) -> NDArray[np.int64]:
        """Return how many rows of a set, or of all, each user or item has, (count,)."""
        total = np.zeros(count, dtype=np.int64)
        for first, (ids,) in self.blocks(name):
            mine = ids if part is None else ids[self.part[first : first + self.block] == part]
            total += np.bincount(mine, minlength=count)
        return total

    def close(self) -> None:
        """Delete the files."""
        for column in self.columns.values():
            column.close()
