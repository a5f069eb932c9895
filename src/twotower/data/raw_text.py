"""The text of a file as UTF-8, whatever it is packed in: gzip, bzip2, xz, zstd, a zip of one file, UTF-16.

How a file is compressed is recognised by its first bytes, not by its suffix.
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

from twotower.errors import DataError

PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
"""Suffixes of compressed files."""
UTF8: Final = "utf-8"


HEAD: Final = 1 << 20
"""Bytes that hold any header."""


class EmptyTable(DataError):
    """A table without rows; as a part of a table with others that have some, it adds none."""


class _Reader(Protocol):
    def __call__(self, path: Path, size: int) -> bytes: ...


@dataclass(frozen=True)
class RawText:
    """The text of a file.

    Attributes:
        path: the file.
        content: the text in UTF-8 without a mark; none if the file itself is that.
    """

    path: Path
    content: bytes | None

    def open(self) -> IO[bytes]:
        """Open for reading."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    @property
    def source(self) -> Path | bytes:
        """What a reader of Polars is given."""
        return self.path if self.content is None else self.content


def raw_text(path: Path, encoding: str = UTF8, *, head: bool = False) -> RawText:
    """Return the text of a file.

    Args:
        path: the file, plain or packed.
        encoding: of its characters; a mark of UTF-8 or UTF-16 at its beginning wins.
        head: unpack and decode only the begin.

    Raises:
        DataError: it can't be unpacked or decoded, or is a spreadsheet or a zip of several files.
    """
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
            f"tables are read as UTF-8: {path} begins with zero bytes, as UTF-16 does. "
            "Say what it is in [data] encoding (utf-16-le, utf-16-be), or save it as UTF-8."
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
    """Build the error for a file that the system, or its compression, won't let us read."""
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{path} can't be read ({reason}). Check its permissions, or fetch it again.")


def known_encoding(name: str) -> str:
    """Return the name of an encoding, having checked that there is one; `ValueError` if not."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(
            f"must be an encoding that Python knows, such as utf-8, latin-1 or utf-16; got {name!r}"
        ) from None
    return name


def _plain(encoding: str) -> bool:
    return codecs.lookup(encoding).name == UTF8


def _decoded(path: Path, content: bytes, encoding: str, head: bool) -> bytes:
    try:
        # A head may end within a character.
        text = codecs.getincrementaldecoder(encoding)().decode(content, final=not head)
        return text.removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise DataError(
            f"{path} is read as {encoding}, and is not: {error}. Correct [data] encoding, or save it as "
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
            raise DataError(f"tables are text or Parquet: {path} is a spreadsheet. Save the sheet as CSV.")
        if len(names) != 1:
            listed = ", ".join(names[:10]) or "nothing"
            raise DataError(f"a zip is read if it holds one file: {path} holds {listed}. Unpack it.")
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
