"""One process at a time in a directory: two that train or tune into one would write over each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from twotower.atomic import disk_errors
from twotower.errors import ConfigError

LOCK = ".lock"
"""The file that is locked. The system frees it when its process ends, however that ends."""


@contextmanager
def alone_in(directory: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a directory, which is made if need be, and taken away if it stays empty.

    Args:
        directory: the directory.
        doing: what is done there, for the message ("trains", "tunes").

    Raises:
        ConfigError: another process has it.
        BundleError: the directory can't be made.
    """
    lock, made = FileLock(directory / LOCK, timeout=0), not directory.exists()
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"another process {doing} in {directory}; wait until it has ended, or choose another --out"
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # some systems keep a file that is open
            (directory / LOCK).unlink()
        lock.release()
        if made:
            with suppress(OSError):  # that it is not empty
                directory.rmdir()
