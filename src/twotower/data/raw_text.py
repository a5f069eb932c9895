"""The text of a file as UTF-8, decompressed (gzip, bzip2, xz, zstd, a zip of one file) and decoded.

Compression is recognised by the first bytes, not by the suffix.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from twotower.errors import ConfigError, DataError

PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
"""Suffixes of compressed files."""
UTF8: Final = "utf-8"


HEAD: Final = 1 << 20
"""Number of bytes that contain any header."""


class EmptyTable(DataError):
    """A table without rows; as one of several files of a table it is skipped."""


class _Reader(Protocol):
    def __call__(self, path: Path, size: int) -> bytes: ...


@dataclass(frozen=True)
class RawText:
    """The text of a file.

    Attributes:
        path: the file.
        content: the text in UTF-8 without a byte order mark; None if the file itself is that.
    """

    path: Path
    content: bytes | None

    def open(self) -> IO[bytes]:
        """Open the text for reading."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    @property
    def source(self) -> Path | bytes:
        """The source for a reader of Polars."""
        return self.path if self.content is None else self.content


def raw_text(path: Path, encoding: str = UTF8, *, head: bool = False) -> RawText:
    """Return the text of a file.

    Args:
        path: the file, plain or compressed.
        encoding: its encoding; a byte order mark of UTF-8 or UTF-16 takes precedence.
        head: decompress and decode only the beginning.

    Raises:
        ConfigError: the encoding is not one that Python knows.
        DataError: it can't be decompressed or decoded, or is a spreadsheet or a zip of several files.
    """
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise ConfigError(
            f"encoding must be one that Python knows, such as utf-8, latin-1 or utf-16; got {encoding!r}"
        ) from None
    try:
        with path.open("rb") as stream:
            start = stream.read(6)
        unpack = next((read for magic, read in _PACKINGS.items() if start.startswith(magic)), None)
        content = None if unpack is None else unpack(path, HEAD if head else -1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from None
    if content is not None:
        start = content[:6]
    if start.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in start and _plain(encoding):
        raise DataError(
            f"tables are read as UTF-8: {path} begins with zero bytes, as in UTF-16. Set [data] encoding "
            "(utf-16-le or utf-16-be), or save the file as UTF-8."
        )
    if encoding == "utf-8-sig" and content is not None:
        content = content[len(codecs.BOM_UTF8) :]
    elif encoding != "utf-8-sig" and not _plain(encoding):
        if content is None:
            with path.open("rb") as stream:
                content = stream.read(HEAD if head else -1)
        content = _decoded(path, content, encoding, head)
    return RawText(path, content)


def unreadable(path: Path, error: BaseException) -> DataError:
    """Return the error for a file that can't be opened or decompressed."""
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{path} can't be read ({reason}). Check its permissions, or fetch it again.")


def _plain(encoding: str) -> bool:
    return codecs.lookup(encoding).name == UTF8


def _decoded(path: Path, content: bytes, encoding: str, head: bool) -> bytes:
    try:
        # The beginning may end within a character.
        text = codecs.getincrementaldecoder(encoding)().decode(content, final=not head)
        return text.removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise DataError(
            f"{path} can't be read as {encoding}: {error}. Correct [data] encoding, or save the file as "
            "UTF-8."
        ) from None


def _gzip(path: Path, size: int) -> bytes:
    with gzip.open(path) as stream:
        return stream.read(size)


def _bzip2(path: Path, size: int) -> bytes:
    with bz2.open(path) as stream:
        return stream.read(size)


def _xz(path: Path, size: int) -> bytes:
    with lzma.open(path) as stream:
        return stream.read(size)


def _zstd(path: Path, size: int) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 (a third of a second, for one kind of file)

    with pa.CompressedInputStream(str(path), "zstd") as stream:
        content: bytes = stream.read(None if size < 0 else size)
        return content


def _zip(path: Path, size: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
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
            with archive.open(names[0]) as stream:
                return stream.read(size)
        except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
            raise unreadable(path, error) from None


_PACKINGS: Final[dict[bytes, _Reader]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\xfd7zXZ": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"PK\x03\x04": _zip,
}
