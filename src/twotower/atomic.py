"""Files and folders that are there whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
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
def replacing_folder(folder: Path, sign: str, what: str) -> Iterator[Path]:
    """Give a new temporary folder beside ``folder``, to be filled; it takes the place when the block ends.

    If the block fails nothing is left behind, and an earlier folder stays as it was.

    Args:
        folder: the place. It may be free, an empty folder, or one that this may replace.
        sign: the file by which one that may be replaced is known.
        what: what such a folder is called.

    Raises:
        BundleError: something else has the place.
        OSError: as the system says.
    """
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.writing")
    try:
        if folder_place(folder, sign) != folder:
            os.replace(_aside(folder), folder)
        taken = any(folder.iterdir()) if folder.is_dir() else folder.exists()
        if taken and not (folder / sign).is_file():
            raise BundleError(f"{folder} exists and is no {what}, it is not replaced; choose another place")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _swap_in(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def folder_place(folder: Path, sign: str) -> Path:
    """Return where a folder is: aside, if a `replacing_folder` was killed between its two renames.

    Reading leaves it there, since the writing may be under way; the next writing puts it back first.
    """
    aside = _aside(folder)
    return aside if not folder.exists() and (aside / sign).is_file() else folder


@contextmanager
def umask_mode(path: Path) -> Iterator[None]:
    """Give what the block writes at ``path`` the umask's mode; some libraries write for the owner alone."""
    with path.open("wb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    yield
    path.chmod(mode)


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
    fix = (
        "make room, or write to another place" if full else "choose another place, or change its permissions"
    )
    return f"could not write {path}: {reason}; nothing half written is left. To go on, {fix}."


def _aside(folder: Path) -> Path:
    """Return where a folder steps aside while the new one is put in its place."""
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}.old")


def _swap_in(temporary: Path, folder: Path) -> None:
    """Put the new folder in place; one can't replace a non-empty one in one step, so the old steps aside."""
    old = _aside(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except BaseException:  # Ctrl-C as well
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
