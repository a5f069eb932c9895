"""Atomic files and folders: written under a temporary name, then renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polars.exceptions import PolarsError

from twotower.errors import BundleError, ConfigError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of the errors of a full disk."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends, it is renamed to ``path``.

    If the block fails, nothing is left behind, and an earlier file is unchanged.

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
        with suppress(OSError):  # usually it is gone already: renamed, or never made
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file completely, or leave the earlier one unchanged."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def check_file(path: Path, option: str = "--out") -> None:
    """Make sure, before any work, that a file can be written at ``path``, which ``option`` names.

    Raises:
        ConfigError: it is a folder, its folder does not exist, or neither may be written to.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise ConfigError(f"{option} must be a file, {path} is a folder; name a file in it")
    if not folder.is_dir():
        raise ConfigError(f"{option} must be in a folder that exists, there is no {folder}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} must be in a folder that you may write to, got {folder}; choose another")


def check_folder(path: Path) -> None:
    """Make sure, before any work, that a folder can be made at ``path`` or written to.

    Raises:
        ConfigError: it, or the nearest folder above it that exists, is a file or may not be written to.
    """
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"--out must be a folder, {place} is a file; choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"--out must be a folder that you may write to, got {place}; choose another")


@contextmanager
def replacing_folder(folder: Path, sign: str, what: str) -> Iterator[Path]:
    """Yield a new temporary folder beside ``folder``; when the block ends, it replaces ``folder``.

    If the block fails, nothing is left behind, and an earlier folder is unchanged.

    Args:
        folder: the target: a path that does not exist, an empty folder, or one that may be replaced.
        sign: name of the file that marks a folder that may be replaced.
        what: name of such a folder, for messages.

    Raises:
        BundleError: something else is there.
        OSError: as the system says.
    """
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.writing")
    try:
        if folder_place(folder, sign) != folder:
            os.replace(_aside(folder), folder)
        taken = any(folder.iterdir()) if folder.is_dir() else folder.exists()
        if taken and not (folder / sign).is_file():
            raise BundleError(
                f"{folder} exists and is not a {what}, so it is not replaced; choose another path"
            )
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _swap_in(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def folder_place(folder: Path, sign: str) -> Path:
    """Return the path of a folder, which lies aside if `replacing_folder` was killed between its two renames.

    Readers leave it there, since a write may still be running; the next write restores it first.
    """
    aside = _aside(folder)
    return aside if not folder.exists() and (aside / sign).is_file() else folder


@contextmanager
def umask_mode(path: Path) -> Iterator[None]:
    """Set the mode of what the block writes at ``path`` by the umask; some libraries write files that only
    the owner can read."""
    with path.open("wb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    yield
    path.chmod(mode)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an operating system error in writing ``path`` into one clear message.

    Raises:
        BundleError: the file can't be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BundleError(_unwritable(path, error.strerror or str(error), error.errno in FULL)) from None
    except PolarsError as error:  # Polars writes files itself, and not all its errors are OSErrors
        reason = str(error).splitlines()[0]
        if "os error" not in reason:
            raise
        raise BundleError(_unwritable(path, reason, any(f"os error {n}" in reason for n in FULL))) from None


def _unwritable(path: Path, reason: str, full: bool) -> str:
    fix = "make room, or write to another path" if full else "choose another place, or change its permissions"
    return f"could not write {path}: {reason}; no partial file is left. To continue, {fix}."


def _aside(folder: Path) -> Path:
    """Return where the old folder is moved while the new one is put in its place."""
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}.old")


def _swap_in(temporary: Path, folder: Path) -> None:
    """Put the new folder in place. A non-empty folder can't be replaced in one step, so the old one is moved
    aside first."""
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
    """Make the rename survive a power cut, where the system allows a folder to be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
