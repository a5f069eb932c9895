"""Columns on disk: NumPy's ``.npy`` files, written part by part and memory-mapped.

A mapped column takes address space, and memory only for what is being read: the system takes it back when it
needs it. So memory need not grow with the rows.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

CHUNK = 1 << 22
"""Values that are read or written at once."""
_NORESERVE: Final = 0x4000 if sys.platform == "linux" else 0  # Python names it from 3.13 on


def spans(n: int) -> Iterator[slice]:
    """Yield slices that cut n values into parts of at most `CHUNK`."""
    for first in range(0, n, CHUNK):
        yield slice(first, min(first + CHUNK, n))


class ColumnWriter:
    """Writes a column of known type and length, part by part, through the file system: a full disk is an
    ``OSError``, never a crash.

    Attributes:
        path: of the file.
        dtype: of the values; parts are converted to it.
        rows: number of values of the whole column; None if that is not known before.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with ColumnWriter(Path(folder) / "n.npy", np.int32, 3) as column:
    ...         column.append(np.array([1, 2]))
    ...         column.append(np.array([3]))
    ...     mapped(Path(folder) / "n.npy").tolist()
    [1, 2, 3]
    """

    def __init__(self, path: Path, dtype: DTypeLike, rows: int | None = None) -> None:
        self.path, self.dtype, self.rows, self._done = path, np.dtype(dtype), rows, 0
        self._file: IO[bytes] = path.open("wb")
        self._header(rows or 0)

    def _header(self, rows: int) -> None:
        header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (rows,)}
        npy.write_array_header_1_0(self._file, header)  # of one length for any number of rows

    def append(self, values: NDArray[Any]) -> None:
        """Write the next values."""
        for part in spans(len(values)):
            self._file.write(np.ascontiguousarray(values[part], dtype=self.dtype).data)
        self._done += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(whole=kind is None)

    def close(self, *, whole: bool = True) -> None:
        """Close the file.

        Args:
            whole: whether it must have all its values.
        """
        if self.rows is None and not self._file.closed:
            self._file.seek(0)
            self._header(self._done)
        self._file.close()
        if whole and self.rows not in (None, self._done):
            raise ValueError(f"{self.path.name} must have {self.rows} values, got {self._done}")


def write_column(path: Path, values: NDArray[Any]) -> None:
    """Write a column that is in memory, or mapped from another file."""
    with ColumnWriter(path, values.dtype, len(values)) as column:
        column.append(values)


def mapped(path: Path) -> NDArray[Any]:
    """Return a column as a memory-mapped array.

    What is written to the array stays in this process and never reaches the file, so compiled loops take it
    as any other array.

    Raises:
        ValueError: the file is not a whole ``.npy`` file of one axis.
    """
    with path.open("rb") as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{path.name} is not of version 1.0")
        shape, fortran, dtype = npy.read_array_header_1_0(file)
        start, size = file.tell(), path.stat().st_size
        if fortran or len(shape) != 1 or dtype.hasobject or size != start + shape[0] * dtype.itemsize:
            raise ValueError(f"{path.name} has {size} bytes, which do not fit its header")
        if not shape[0]:
            return np.empty(0, dtype)
        flags = getattr(mmap, "MAP_PRIVATE", 0)
        if flags:  # without a reservation: columns may be larger than memory
            content = mmap.mmap(
                file.fileno(), size, flags=flags | _NORESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
        else:  # pragma: no cover - Windows
            content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
    return np.frombuffer(content, dtype, count=shape[0], offset=start)


def release(*columns: NDArray[Any] | None) -> None:
    """Give back the memory that mapped columns take in this process; they are read again when they are used.

    Columns that are not mapped stay as they are.
    """
    for column in columns:
        content = None if column is None else column.base
        while isinstance(content, memoryview | np.ndarray):
            content = content.obj if isinstance(content, memoryview) else content.base
        if isinstance(content, mmap.mmap) and hasattr(content, "madvise"):
            content.madvise(mmap.MADV_DONTNEED)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
