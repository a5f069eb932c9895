"""`Scratch`: columns on disk that are only for this process, and go when nothing uses them any more."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from numpy.typing import DTypeLike, NDArray

from twotower.core.atomic import FULL
from twotower.core.columns import ColumnWriter, mapped


class Scratch:
    """A folder for columns. Used with ``with``: what `take` returned stays valid after the block.

    A mapped file keeps its space on disk until the last array of it is gone, although it has no name any
    more. So nothing is left behind, not even by a process that is killed.

    Args:
        near: the folder that it is made in, on the disk that has the space.

    >>> import numpy as np
    >>> with Scratch(Path(tempfile.gettempdir())) as scratch:
    ...     scratch.column("n", np.int32).append(np.array([1, 2]))
    ...     kept = scratch.take("n")
    >>> kept.tolist()
    [1, 2]
    """

    def __init__(self, near: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=".scratch-", dir=near))
        self._open: dict[str, ColumnWriter] = {}

    def column(self, name: str, dtype: DTypeLike) -> ColumnWriter:
        """Return the writer of a new column."""
        self._open[name] = ColumnWriter(self.folder / f"{name}.npy", dtype)
        return self._open[name]

    def take(self, name: str) -> NDArray[Any]:
        """Close a column, and return it as a memory-mapped array."""
        self._open.pop(name).close()
        return mapped(self.folder / f"{name}.npy")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._name(error)
        try:
            with ExitStack() as ends:  # on a full disk closing fails too, and the folder goes all the same
                ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
                for column in self._open.values():
                    ends.callback(column.close)
        except OSError as closing:
            self._name(closing)
            raise
        if os.name == "nt":  # pragma: no cover - mapped files can't be removed there
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def _name(self, error: BaseException | None) -> None:
        """Let the error of a full disk say which one it is: that of writing to an open file does not."""
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            error.filename = str(self.folder.parent)
