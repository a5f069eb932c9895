"""Read the files of a folder safely: only regular files of one folder, each read once and hashed as read.

A saved model may be behind a symbolic link that changes, or come from someone else. So the folder is opened
once and its files are opened relative to it; pipes and devices are refused without waiting for them; and the
bytes that are hashed are the bytes that are returned.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 24  # bytes per read
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_IN_FOLDER = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd


@dataclass(frozen=True)
class Part:
    """An open regular file.

    Attributes:
        name: of the file in its folder.
        descriptor: of the open file.
        size: bytes, when it was opened.
    """

    name: str
    descriptor: int
    size: int

    def start(self, length: int) -> bytes:
        """Return up to ``length`` of the first bytes, to check them before reading the whole file."""
        found = b""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        while len(found) < length and (more := os.read(self.descriptor, min(length - len(found), _AT_ONCE))):
            found += more
        return found

    def read(self) -> tuple[NDArray[np.uint8], str]:
        """Return the content, uint8 (size,), and its SHA-256.

        Raises:
            OSError: it can't be read.
            ValueError: its size changed meanwhile.
        """
        content = np.empty(self.size, dtype=np.uint8)
        view, digest, at = memoryview(content.data), hashlib.sha256(), 0
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        while at < self.size and (more := os.read(self.descriptor, min(self.size - at, _AT_ONCE))):
            view[at : at + len(more)] = more
            digest.update(more)
            at += len(more)
        if at < self.size or os.read(self.descriptor, 1):
            raise ValueError("it changed while being read")
        return content, digest.hexdigest()

    def mapped(self) -> tuple[NDArray[np.uint8], str]:
        """Return the content, mapped into memory, and its SHA-256, of a file that never changes.

        Processes that map the same file have it in memory once. What one writes to it, the others don't see.

        Raises:
            OSError: it can't be read.
        """
        if not self.size:
            return self.read()
        content = np.frombuffer(mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_COPY), np.uint8)
        return content, hashlib.sha256(content.data).hexdigest()


@contextmanager
def opened(folder: Path, names: Iterable[str]) -> Iterator[dict[str, Part | str]]:
    """Open the files that exist, all in the same folder even if it is renamed meanwhile.

    Yields:
        Name -> an open file, or a text that says why it can't be opened. Missing files are left out.

    Raises:
        OSError: the folder can't be opened.
    """
    with ExitStack() as stack:
        inside = None
        if _IN_FOLDER:
            inside = os.open(
                folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
            )
            stack.callback(os.close, inside)
        found: dict[str, Part | str] = {}
        for name in names:
            try:
                part = _open(folder, inside, name)
            except FileNotFoundError:
                continue
            except OSError as error:
                found[name] = error.strerror or str(error)
                continue
            found[name] = part
            if isinstance(part, Part):
                stack.callback(os.close, part.descriptor)
        yield found


def _open(folder: Path, inside: int | None, name: str) -> Part | str:
    place = name if inside is not None else folder / name
    before = os.stat(place, dir_fd=inside)  # opening a device may have side effects
    if not stat.S_ISREG(before.st_mode):
        return f"it must be a regular file, and is {_kind(before.st_mode)}"
    descriptor = os.open(place, _FLAGS, dir_fd=inside)
    now = os.fstat(descriptor)
    if not stat.S_ISREG(now.st_mode):
        os.close(descriptor)
        return f"it must be a regular file, and is {_kind(now.st_mode)}"
    return Part(name, descriptor, now.st_size)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def memory() -> int | None:
    """Return the memory of this machine in bytes; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
