"""Files that are there whole or not at all: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polars.exceptions import PolarsError

from twotower.errors import BundleError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its place when the block ends.

    If the block fails nothing is left behind, and an earlier file stays as it was.

    Raises:
        BundleError: the file can't be written (disk full, no such folder, not allowed).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):  # mostly that it is gone: renamed, or never made
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave the earlier one as it was."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing ``path`` into one clear error.

    Raises:
        BundleError: the file can't be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BundleError(_unwritable(path, error.strerror or str(error), error.errno in _FULL)) from None
    except PolarsError as error:  # writes files itself, and does not always say so by an OSError
        reason = str(error).splitlines()[0]
        if "os error" not in reason:
            raise
        raise BundleError(_unwritable(path, reason, any(f"os error {n}" in reason for n in _FULL))) from None


def _unwritable(path: Path, reason: str, full: bool) -> str:
    mend = "make room, or write to another place" if full else "choose another place, or mend its permissions"
    return f"could not write {path}: {reason}; nothing half written is left. To go on, {mend}."


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
