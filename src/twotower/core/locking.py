"""One process at a time in a directory: two that train or tune there would overwrite each other's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from twotower.core.atomic import disk_errors
from twotower.errors import ConfigError

LOCK = ".lock"
"""The lock file. The system releases the lock when the process ends, however it ends."""


@contextmanager
def alone_in(directory: Path, doing: str) -> Iterator[None]:
    """Lock a directory against other processes. It is created if needed, and removed if it stays empty.

    Args:
        directory: the directory.
        doing: what the process does there, for the message ("trains", "tunes").

    Raises:
        ConfigError: another process has locked it.
        BundleError: the directory can't be created.
    """
    lock, made = FileLock(directory / LOCK, timeout=0), not directory.exists()
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"another process {doing} in {directory}; wait until it ends, or choose another --out"
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # some systems don't delete open files
            (directory / LOCK).unlink()
        lock.release()
        if made:
            with suppress(OSError):  # it is not empty
                directory.rmdir()
