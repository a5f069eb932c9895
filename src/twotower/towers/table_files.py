"""`on_disk`: large tables in files, for a program that keeps them while others train them.

The system takes the memory of a mapped file back when it needs it. So a table may be larger than memory.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import torch

from twotower.core.scratch import Scratch
from twotower.errors import TrainingError

LEAST = 1 << 26
"""Bytes from which on a table is large."""
_SPACE: ContextVar[Path | None] = ContextVar("space", default=None)


@contextmanager
def on_disk(space: Path | None) -> Iterator[None]:
    """Make large tables within the block in files; they have no name, and go with the last use.

    Args:
        space: a folder on the disk that has the space; None for that of temporary files.

    Raises:
        TrainingError: the disk is full, or can't be written to.
    """
    token = _SPACE.set(Path(tempfile.gettempdir()) if space is None else space)
    try:
        yield
    finally:
        _SPACE.reset(token)


def unfilled(*shape: int) -> torch.Tensor:
    """Return float32 numbers of a shape that are not set yet, in a file where tables are on disk."""
    space, size = _SPACE.get(), 4 * math.prod(shape)
    if space is None or size < max(LEAST, 1):
        return torch.empty(shape)
    try:
        with Scratch(space) as scratch:
            path = scratch.folder / "table"
            with path.open("wb") as file:
                _reserve(file, size)
            return torch.from_file(str(path), shared=True, size=size // 4).view(shape)
    except (OSError, RuntimeError) as error:
        raise TrainingError(no_room(space, error)) from None


def no_room(space: Path, error: Exception) -> str:
    """Return the message for a folder on whose disk tables have no room."""
    return (
        f"large tables of the model must fit on the disk of {space}: {error}. Free disk space, or set TMPDIR "
        "(data.store_dir if the training set is on disk) to a folder on a larger disk; --resume continues a "
        "run that was begun"
    )


def _reserve(file: IO[bytes], size: int) -> None:
    """Give a file its space on the disk, so that writing to it by a mapping can't fail."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(1 << 22)
    for begin in range(0, size, len(zeros)):
        file.write(zeros[: size - begin])
