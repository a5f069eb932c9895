"""Files at addresses, such as ``s3://bucket/events.csv``, by fsspec.

Every range of bytes that is read is checked to be whole and asked for again if it is not, so that a lost
connection is an error, and never the end of a file.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple, cast

from twotower.core.atomic import disk_errors
from twotower.core.urls import with_secrets, without_secrets
from twotower.data.access import access_error, access_errors, reason_of, trying
from twotower.errors import BundleError, ConfigError, DataError, MissingExtraError, nearest

_FIRST, _MOST = 1 << 16, 1 << 23
"""Bytes of the first request of a stream and of the largest one: each is twice as large as the one before."""
_EXTRAS: Final = {
    **dict.fromkeys(("s3", "s3a"), ("s3", "s3fs")),
    **dict.fromkeys(("gs", "gcs"), ("gcs", "gcsfs")),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), ("azure", "adlfs")),
}
"""Protocol -> the extra that it needs, and the package."""
_VERSIONS: Final = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "last_modified",
    "LastModified",
    "mtime",
    "created",
)
"""What file systems call the version of a file; the first that is there counts."""


class Stat(NamedTuple):
    """What tells a file from an earlier one at the same address.

    Attributes:
        st_size: its size in bytes.
        st_mtime_ns: its entity tag, checksum or time of change.
    """

    st_size: int
    st_mtime_ns: str


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address, with the methods of a `Path` that readers use.

    Attributes:
        system: the file system of fsspec.
        key: the path of the file in it.
        address: how messages name it: without secrets.
        size: its size in bytes; None to ask for it whenever it is opened.
    """

    system: Any = field(repr=False, compare=False)
    key: str
    address: str
    size: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return PurePosixPath(self.key).suffix

    def as_posix(self) -> str:
        """Return the path, for ordering."""
        return self.key

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open the file for reading, to be read on from wherever one seeks."""
        del mode
        return cast(IO[bytes], io.BufferedReader(_Stream(self, ahead=True), _FIRST))

    def ranges(self) -> IO[bytes]:
        """Open the file for reading the ranges of bytes that are asked for, and no more."""
        return cast(IO[bytes], _Stream(self, ahead=False))

    def read_bytes(self) -> bytes:
        """Return the whole file."""
        return self.fetch(0, self.stat().st_size)

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return self._type() == "file"

    def stat(self) -> Stat:
        """Ask for the size and the version of the file."""
        with access_errors(self.address):
            self.system.invalidate_cache(self.key)
            found = trying(lambda: self.system.info(self.key))
        if found.get("size") is None:
            raise DataError(
                f"the server must tell the size of a file: that of {self} does not. Fetch the file, and read "
                "the copy."
            )
        version = next((str(found[name]) for name in _VERSIONS if found.get(name) is not None), "")
        return Stat(int(found["size"]), version)

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self._type() == "directory"

    def exists(self) -> bool:
        """Return whether there is a file or folder."""
        return self._type() is not None

    def _type(self) -> str | None:
        """Return what is there, None if nothing; that it may not be seen is an error."""
        with access_errors(self.address):
            try:
                return str(trying(lambda: self.system.info(self.key))["type"])
            except FileNotFoundError:
                return None

    def inside(self, name: str) -> RemoteFile:
        """Return a file in the folder, or a pattern of such."""
        return self._other(f"{self.key.rstrip('/')}/{name}")

    def matches(self) -> list[tuple[RemoteFile, bool]]:
        """Return the files and folders that match the address as a pattern, and which are folders."""
        with access_errors(self.address):
            self.system.invalidate_cache()
            found = trying(lambda: self.system.glob(self.key, detail=True))
        return [(self._other(key), info["type"] == "directory") for key, info in sorted(found.items())]

    def below(self) -> list[tuple[RemoteFile, tuple[str, ...]]]:
        """Return the files in a folder and in all folders in it, with the names below it."""
        with access_errors(self.address):
            self.system.invalidate_cache()
            found = trying(lambda: self.system.find(self.key))
        base = PurePosixPath(self.key)
        return [(self._other(key), PurePosixPath(key).relative_to(base).parts) for key in found]

    def _other(self, key: str) -> RemoteFile:
        return RemoteFile(self.system, key, self._address_of(key))

    def _address_of(self, key: str) -> str:
        head, separator, _ = self.address.partition("://")
        place = self.address.find(self.key.rstrip("/")) if self.key.strip("/") else -1
        start = self.address[:place] if place >= 0 else head + separator
        return without_secrets(start + key)

    def fetch(self, start: int, end: int) -> bytes:
        """Return some bytes, all of them.

        Raises:
            DataError: there is no such file, it may not be read, or the connection was lost again and again.
        """

        def whole() -> bytes:
            data = bytes(self.system.cat_file(self.key, start=start, end=end)) if end > start else b""
            if len(data) != end - start:
                raise ConnectionError(f"{len(data):,} of {end - start:,} bytes came")
            return data

        with access_errors(self.address):
            return trying(whole)

    def check_writable(self) -> None:
        """Make sure, before any work, that the place can be reached. Only writing shows whether it may be.

        Raises:
            DataError, ConfigError: it can't be reached, or it is a folder.
        """
        if self.is_dir():
            raise ConfigError(f"--out must be a file, {self} is a folder; name a file in it")

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        """Yield a temporary file on the local disk; when the block ends, its content is put at the address.

        Other programs see the whole of it or nothing: object stores show an object when it is complete; other
        file systems get it under another name, and rename it.

        Raises:
            BundleError: it can't be written.
        """
        with tempfile.TemporaryDirectory(prefix="twotower-") as folder:
            local = Path(folder) / self.name
            with disk_errors(local):
                yield local
            stores = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
            part = self if self.address.split("://")[0] in stores else self._hidden()
            try:
                self.system.put_file(str(local), part.key)
                if part.stat().st_size != local.stat().st_size:
                    raise ConnectionError("it did not arrive whole")
                if part is not self:
                    self.system.mv(part.key, self.key)
            except Exception as error:  # each library has exceptions of its own
                with suppress(Exception):
                    self.system.rm_file(part.key)
                reason = reason_of(error, self.address)
                raise BundleError(
                    f"could not write {self}: {reason}; no partial file is left. Check the credentials, the "
                    "permissions and the connection."
                ) from None

    def _hidden(self) -> RemoteFile:
        folder, _, name = self.key.rpartition("/")
        return self._other(f"{folder}/.{name}.{os.getpid()}.tmp")


class _Stream(io.RawIOBase):
    """A file as a stream of ranges; those read one after another grow, if it may read ahead."""

    def __init__(self, file: RemoteFile, *, ahead: bool) -> None:
        self._file, self._ahead = file, ahead
        self._size = file.stat().st_size if file.size is None else file.size
        self._at, self._start, self._block, self._next = 0, 0, memoryview(b""), _FIRST

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._size - self._at)
        if count <= 0:
            return 0
        end = self._start + len(self._block)
        if not self._start <= self._at < end:
            self._next = min(2 * self._next, _MOST) if self._at == end and end else _FIRST
            length = max(count, self._next) if self._ahead else count
            self._start = self._at
            self._block = memoryview(self._file.fetch(self._at, min(self._at + length, self._size)))
        place = self._at - self._start
        found = self._block[place : place + count]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


Location = Path | RemoteFile
"""A file on a disk or at an address."""


def remote(url: str) -> RemoteFile:
    """Return the file, folder or pattern at an address.

    Raises:
        ConfigError: fsspec does not know the protocol, or the address is not valid.
        MissingExtraError: the package for the protocol is not installed.
    """
    import fsspec  # noqa: PLC0415 (a tenth of a second, which most commands don't need)

    plain = without_secrets(url)
    opened, options = with_secrets(plain)
    protocol = re.split(r"://|::", plain, maxsplit=1)[0]
    try:
        system, key = _arrow_s3(opened, options) or fsspec.core.url_to_fs(opened, **options)
    except ImportError as error:
        extra, package = _EXTRAS.get(plain.split("::")[-1].split("://")[0], ("", ""))
        if not extra:
            raise ConfigError(f"{plain} can't be read: {str(error).splitlines()[0]}") from None
        raise MissingExtraError(
            f"{protocol}:// needs {package}: install it with `pip install 'twotower[{extra}]'`"
        ) from None
    except ValueError as error:
        known = fsspec.available_protocols()
        if protocol in known:
            raise ConfigError(f"{plain} is not a valid address: {reason_of(error, url)}") from None
        raise ConfigError(
            f"an address must have a protocol that fsspec knows, such as s3://, gs:// or https://; got "
            f"{plain}.{nearest(protocol, known)}"
        ) from None
    except Exception as error:  # of the library behind the protocol
        raise access_error(plain, error) from None
    return RemoteFile(system, key, plain)


def _arrow_s3(url: str, options: dict[str, Any]) -> tuple[Any, str] | None:
    """Return PyArrow's file system for S3 where s3fs isn't installed."""
    protocol, separator, key = url.partition("://")
    if separator != "://" or _EXTRAS.get(protocol, ("", ""))[0] != "s3":
        return None
    if importlib.util.find_spec("s3fs") is not None:
        return None
    import pyarrow.fs as arrow  # noqa: PLC0415
    from fsspec.implementations.arrow import ArrowFSWrapper  # noqa: PLC0415

    class Arrow(ArrowFSWrapper):  # type: ignore[misc]
        def cat_file(self, path: str, start: int = 0, end: int | None = None, **_: Any) -> bytes:
            with self.fs.open_input_file(path) as file:
                content: bytes = file.read_at((file.size() if end is None else end) - start, start)
                return content

    system = arrow.S3FileSystem(
        access_key=options.get("key"),
        secret_key=options.get("secret"),
        endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        connect_timeout=10,
        request_timeout=60,
    )
    return Arrow(system), key
