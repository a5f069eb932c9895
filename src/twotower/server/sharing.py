"""`SharedCopies`: copies of bundles that all workers of a server map into memory, once for all of them.

A bundle that is mapped must not change, or what was hashed is not what is answered from. So it is copied
first, into a folder of this process alone, in memory if there is room.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from twotower.core.atomic import folder_place
from twotower.errors import BundleError

MANIFEST: Final = "bundle.json"
_IN_MEMORY: Final = Path("/dev/shm")
_PREFIX: Final = "twotower-serve-"
_TRIES: Final = 5


class SharedCopies:
    """Makes copies of bundles, and removes them."""

    def __init__(self) -> None:
        _remove_abandoned()
        self._folders: list[Path] = []
        self._number = 0

    def copies(self, bundles: Mapping[str, Path | str]) -> dict[str, Path]:
        """Return a copy of each bundle, by name, checked against the hashes in it.

        Raises:
            BundleError: one is not whole, or can't be copied.
        """
        return {name: self._copy(Path(bundle)) for name, bundle in bundles.items()}

    def keep(self, used: Mapping[str, Path]) -> None:
        """Remove all copies but these. Who has one mapped keeps it in memory."""
        for folder in [folder for folder in self._folders if folder not in used.values()]:
            shutil.rmtree(folder, ignore_errors=True)
            self._folders.remove(folder)

    def close(self) -> None:
        """Remove all copies."""
        self.keep({})
        for place in _places():
            shutil.rmtree(place / f"{_PREFIX}{os.getpid()}", ignore_errors=True)

    def _copy(self, bundle: Path) -> Path:
        for last in (*(False,) * (_TRIES - 1), True):
            self._number += 1
            source = folder_place(bundle, MANIFEST)
            try:
                target = self._new_folder(source)
                self._folders.append(target)
                for file in sorted(source.iterdir()):
                    if file.is_file():
                        shutil.copyfile(file, target / file.name)
                _check(target)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                # It may have been replaced meanwhile.
                if last:
                    raise BundleError(f"bundle {bundle} can't be copied for the workers: {error}") from None
            else:
                return target
        raise AssertionError

    def _new_folder(self, source: Path) -> Path:
        size = sum(file.stat().st_size for file in source.iterdir() if file.is_file())
        for place in _places():
            own = place / f"{_PREFIX}{os.getpid()}"
            with suppress(OSError):
                if place != _IN_MEMORY or shutil.disk_usage(place).free > 2 * size + (64 << 20):
                    own.mkdir(mode=0o700, exist_ok=True)
                    folder = own / str(self._number)
                    folder.mkdir()
                    return folder
        raise OSError(f"there is no room for {size:,} bytes in {' or '.join(map(str, _places()))}")


def _check(folder: Path) -> None:
    """Raise `ValueError` unless a bundle's parts are those that were saved with it."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name, digest in manifest["parts"].items():
        with (folder / Path(name).name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError(f"its part {name} is not the one saved with it")


def _places() -> list[Path]:
    return [place for place in (_IN_MEMORY, Path(tempfile.gettempdir())) if os.access(place, os.W_OK)]


def _remove_abandoned() -> None:
    """Remove copies of servers of this user that were killed."""
    for place in _places():
        for folder in place.glob(f"{_PREFIX}*"):
            pid = folder.name.removeprefix(_PREFIX)
            with suppress(OSError, ValueError):
                if folder.stat().st_uid == os.getuid() and not _alive(int(pid)):
                    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        with suppress(PermissionError):  # it is another user's
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
