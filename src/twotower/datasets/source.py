"""Find the files of a named data set: in a folder, in one of its usual subfolders, or in the zip.

Nothing is extracted: a member of a zip is read as a stream, so a data set of a gigabyte needs no disk space
besides its archive.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from twotower.errors import DataError


@dataclass(frozen=True)
class FoundFile:
    """One file of a data set: a file on the disk, or a member of a zip.

    Attributes:
        path: the file, or the zip that contains it.
        member: name within the zip; None for a file on the disk.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open for reading; whatever a damaged archive raises becomes a `DataError`."""
        try:
            if self.member is None:
                with self.path.open("rb") as stream:
                    yield stream
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                    yield cast(BinaryIO, stream)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(_damaged(self.path, error)) from None
        except OSError as error:
            raise DataError(f"could not read {self}: {error.strerror or error}") from None

    def read(self) -> bytes:
        """Return the whole content."""
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True)
class Place:
    """A folder, or a folder within a zip, in which files are looked up by name."""

    path: Path
    members: tuple[str, ...] | None = None
    """Members of the zip in this folder; None for a folder on the disk."""

    def find(self, name: str) -> FoundFile | None:
        """Return the file of that name, or None."""
        if self.members is None:
            file = self.path / name
            return FoundFile(file) if file.is_file() else None
        matching = (m for m in self.members if PurePosixPath(m).name == name)
        return next((FoundFile(self.path, m) for m in matching), None)

    def __str__(self) -> str:
        if self.members is None:
            return str(self.path)
        folder = str(PurePosixPath(self.members[0]).parent)
        return str(self.path) if folder == "." else f"{self.path}:{folder}"


class Source:
    """The folders and zips of one data set, in the order in which they are searched.

    Args:
        path: a zip, or a folder.
        folders: glob patterns of subfolders to search after the folder itself.
        archives: glob patterns of zips in the folder to search after the subfolders.
        fetch: name for ``twotower fetch`` in error messages.
    """

    def __init__(
        self, path: str | Path, *, folders: Sequence[str] = (), archives: Sequence[str] = (), fetch: str
    ) -> None:
        self.path = Path(path).expanduser()
        self.fetch = fetch
        if self.path.is_dir():
            found = [f for pattern in folders for f in sorted(self.path.glob(pattern)) if f.is_dir()]
            zips = [z for pattern in archives for z in sorted(self.path.glob(pattern)) if z.is_file()]
            self.places = [Place(folder) for folder in dict.fromkeys([self.path, *found])]
            for archive in dict.fromkeys(zips):
                self.places += _zip_places(archive)
        elif self.path.is_file():
            self.places = _zip_places(self.path)
        else:
            raise DataError(
                f"there is no folder or zip '{self.path}'; run `twotower fetch {fetch}` and pass the "
                "folder that it prints"
            )

    def find(self, name: str) -> FoundFile | None:
        """Return the first file of that name, or None."""
        return next((found for place in self.places if (found := place.find(name))), None)

    def get(self, name: str) -> FoundFile:
        """Return the first file of that name; if there is none, a `DataError` lists where it was looked
        for."""
        found = self.find(name)
        if found is None:
            looked = ", ".join(str(place) for place in self.places)
            raise DataError(
                f"missing file '{name}'; looked in {looked}. Get the complete data set with `twotower "
                f"fetch {self.fetch}`"
            )
        return found


def _zip_places(path: Path) -> list[Place]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(_damaged(path, error)) from None
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from None
    folders: dict[PurePosixPath, list[str]] = {}
    for name in names:
        # Archives made on a Mac contain a shadow "._name" of each file.
        if not (name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith("._")):
            folders.setdefault(PurePosixPath(name).parent, []).append(name)
    ordered = sorted(folders, key=lambda folder: (len(folder.parts), str(folder)))
    return [Place(path, tuple(folders[folder])) for folder in ordered] or [Place(path, ("",))]


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is not a complete zip file ({error}); the download was probably interrupted: delete it "
        "and fetch it again"
    )
