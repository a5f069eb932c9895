"""The text of a file as UTF-8, decompressed (gzip, bzip2, xz, zstd, a zip of one file) and decoded.

Compression is recognised by the first bytes, not by the suffix.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from twotower.core.warn import warn
from twotower.data.remote import Location
from twotower.errors import ConfigError, DataError

PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
"""Suffixes of compressed files."""
UTF8: Final = "utf-8"
UTF8_MARKED: Final = "utf-8-sig"
_CHUNK = 1 << 18

HEAD: Final = 1 << 20
"""Number of bytes that contain any header."""


class EmptyTable(DataError):
    """A table without rows; as one of several files of a table it is skipped."""


class _Opener(Protocol):
    def __call__(self, path: Location, file: IO[bytes]) -> IO[bytes]: ...


@dataclass(frozen=True)
class RawText:
    """The text of a file.

    Attributes:
        path: the file.
        content: the text in UTF-8 without a byte order mark; None if the file itself is that, or if the text
            is read in blocks.
        above: number of lines of the file above the text.
        opener: opens the text, if it is read in blocks.
    """

    path: Location
    content: bytes | None
    above: int = 0
    opener: Callable[[], IO[bytes]] | None = None

    def open(self) -> IO[bytes]:
        """Open the text for reading."""
        if self.content is not None:
            return io.BytesIO(self.content)
        return self.path.open("rb") if self.opener is None else self.opener()

    @property
    def source(self) -> Path | bytes:
        """The source for a reader of Polars."""
        if self.content is not None:
            return self.content
        assert isinstance(self.path, Path)  # the text of others is read
        return self.path


def raw_text(path: Location, encoding: str = UTF8, *, head: bool = False) -> RawText:
    """Return the text of a file.

    Args:
        path: the file, plain or compressed.
        encoding: its encoding; a byte order mark of UTF-8, UTF-16 or UTF-32 takes precedence.
        head: decompress and decode only the beginning.

    Raises:
        ConfigError: the encoding is not one that Python knows.
        DataError: it can't be decompressed or decoded, or is a spreadsheet or a zip of several files.
    """
    known, packed = _form(path, encoding)
    if isinstance(path, Path) and not packed and (known == UTF8_MARKED or _plain(known)):
        return RawText(path, None)
    with _opened(path, known, head=head) as stream:
        return RawText(path, stream.read(HEAD if head else -1))


def streamed_text(path: Location, encoding: str = UTF8) -> RawText:
    """Return the text of a file, which is decompressed and decoded while it is read; arguments and errors as
    in `raw_text`."""
    known, _ = _form(path, encoding)
    return RawText(path, None, opener=lambda: _opened(path, known))


def _form(path: Location, encoding: str) -> tuple[str, bool]:
    """Return the encoding of a file by its first bytes, and whether it is compressed."""
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise ConfigError(
            f"encoding must be one that Python knows, such as utf-8, latin-1 or utf-16; got {encoding!r}"
        ) from None
    with reading_errors(path), path.open("rb") as file:
        packed = _packing(file) is not None
        stream = _unpacked(path, file)
        start = stream.read(6)
    if start.startswith(codecs.BOM_UTF8):
        return UTF8_MARKED, packed
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the first begins as that of UTF-16
        return "utf-32", packed
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", packed
    if b"\0" in start and _plain(encoding):
        raise DataError(
            f"tables are read as UTF-8: {path} begins with zero bytes, as in UTF-16. Set [data] encoding "
            "(utf-16-le or utf-16-be), or save the file as UTF-8."
        )
    return encoding, packed


def _opened(path: Location, encoding: str, *, head: bool = False) -> IO[bytes]:
    """Open a file as a stream of UTF-8 without a byte order mark."""
    return cast(IO[bytes], io.BufferedReader(_Utf8(path, encoding, head), _CHUNK))


class _Utf8(io.RawIOBase):
    """A file as UTF-8 without a byte order mark, read from its beginning to its end."""

    def __init__(self, path: Location, encoding: str, head: bool) -> None:
        self._path, self._encoding, self._head = path, encoding, head
        plain = encoding == UTF8_MARKED or _plain(encoding)
        self._decoder = None if plain else codecs.getincrementaldecoder(encoding)()
        self._check = None if plain or encoding.startswith(("utf-16", "utf-32")) else _Utf8Check()
        self._read, self._rest = 0, memoryview(b"")
        self._ended, self._begun = False, False
        with reading_errors(path):
            self._file = path.open("rb")
            self._stream = _unpacked(path, self._file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def readall(self) -> bytes:
        blocks = [bytes(self._rest)]
        while not self._ended:
            blocks.append(self._next())
        self._rest = memoryview(b"")
        return b"".join(blocks)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()

    def _next(self) -> bytes:
        with reading_errors(self._path):
            data = self._stream.read(_CHUNK)
        self._read += len(data)
        # The beginning may end within a character.
        self._ended = not data or (self._head and self._read >= HEAD)
        if self._decoder is None:
            first, self._begun = not self._begun, True
            return data.removeprefix(codecs.BOM_UTF8) if first else data
        try:
            text = self._decoder.decode(data, not data)
        except UnicodeError as error:
            raise DataError(
                f"{self._path} can't be read as {self._encoding}: {error}. Correct [data] encoding, or save "
                "the file as UTF-8."
            ) from None
        if self._check is not None and self._check.passes(data) and not data:
            said = self._check.found.encode().decode(self._encoding, "replace")
            warn(
                f"{self._path} is read as {self._encoding}, as [data] encoding says, but all of it is UTF-8: "
                f"'{self._check.found}' is read as '{said}'. If that is wrong, leave encoding out, or "
                "give it by table"
            )
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        return text.encode()


def _first(text: str) -> str:
    found = re.search(r"[^\x00-\x7f]{1,3}", text)
    return "" if found is None else found[0]


class _Utf8Check:
    """Whether bytes are UTF-8, and not ASCII alone.

    Attributes:
        found: the first characters beyond ASCII.
    """

    def __init__(self) -> None:
        self.found = ""
        self._decoder = codecs.getincrementaldecoder(UTF8)()
        self._valid = True

    def passes(self, data: bytes) -> bool:
        """Read on, at the end b"", and return whether all bytes so far are that."""
        if self._valid:
            try:
                text = self._decoder.decode(data, not data)
            except UnicodeError:
                self._valid = False
            else:
                self.found = self.found or _first(text)
        return self._valid and bool(self.found)


@contextmanager
def reading_errors(path: Location) -> Iterator[None]:
    """Turn a failure to open, read or decompress a file into one clear message.

    Raises:
        DataError: the file can't be read.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from None


def unreadable(path: Location, error: BaseException) -> DataError:
    """Return the error for a file that can't be opened or decompressed."""
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{path} can't be read ({reason}). Check its permissions, or fetch it again.")


def _plain(encoding: str) -> bool:
    return codecs.lookup(encoding).name == UTF8


def _packing(file: IO[bytes]) -> _Opener | None:
    start = file.read(6)
    file.seek(0)
    return next((unpack for magic, unpack in _PACKINGS.items() if start.startswith(magic)), None)


def _unpacked(path: Location, file: IO[bytes]) -> IO[bytes]:
    unpack = _packing(file)
    return file if unpack is None else unpack(path, file)


def _gzip(path: Location, file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file))


def _bzip2(path: Location, file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], bz2.BZ2File(file))


def _xz(path: Location, file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.LZMAFile(file))


def _zstd(path: Location, file: IO[bytes]) -> IO[bytes]:
    import pyarrow as pa  # noqa: PLC0415 (a third of a second, for one kind of file)

    return cast(IO[bytes], pa.CompressedInputStream(file, "zstd"))


def _zip(path: Location, file: IO[bytes]) -> IO[bytes]:
    with zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        names = [name for name in names if not name.startswith("__MACOSX/")]
        if "[Content_Types].xml" in names:
            raise DataError(
                f"tables must be text or Parquet: {path} is a spreadsheet. Save the sheet as CSV."
            )
        if len(names) != 1:
            listed = ", ".join(names[:10]) or "nothing"
            raise DataError(f"a zip must contain exactly one file: {path} contains {listed}. Unpack it.")
        try:
            return archive.open(names[0])
        except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
            raise unreadable(path, error) from None


_PACKINGS: Final[dict[bytes, _Opener]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\xfd7zXZ": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"PK\x03\x04": _zip,
}
