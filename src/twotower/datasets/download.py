"""Download a public data set: resumed after a break, checked against its published checksum, never a partial
file.

Only the standard library is used. The archive is not unpacked; the readers read from it.
"""

from __future__ import annotations

import errno
import hashlib
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, Final

from twotower.errors import ConfigError, DownloadError, nearest

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total (None if the server does not state it)."""

ATTEMPTS: Final = 5
"""Number of attempts in a row without a new byte before giving up."""

_CHUNK = 1 << 20
_TIMEOUT = 30.0
_NOT_RANGE = 416
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Archive:
    """A zip file at a fixed URL.

    Attributes:
        url: its address.
        md5: its published checksum; None if the publisher replaces the file from time to time.
        size: in bytes; None if not published.
        licence: one line, shown when it is downloaded.
    """

    url: str
    md5: str | None
    size: int | None
    licence: str

    @property
    def file(self) -> str:
        """Name of the file."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rsplit("/", 1)[-1])


_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_GROUPLENS_LICENCE = (
    "GroupLens research licence: acknowledge the source, no commercial use without permission"
)

ARCHIVES: Final[dict[str, Archive]] = {
    "kuairec": Archive(
        "https://zenodo.org/records/18164998/files/KuaiRec.zip",
        "261550d472c48eff4990fb13c0e5bcf7",
        431_964_858,
        "CC BY-SA 4.0; cite Gao et al., CIKM 2022 (https://kuairec.com)",
    ),
    "movielens-100k": Archive(
        _GROUPLENS + "ml-100k.zip", "0e33842e24a9c977be4e0107933c0723", None, _GROUPLENS_LICENCE
    ),
    "movielens-1m": Archive(
        _GROUPLENS + "ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906", None, _GROUPLENS_LICENCE
    ),
    "movielens-latest-small": Archive(_GROUPLENS + "ml-latest-small.zip", None, None, _GROUPLENS_LICENCE),
    "movielens-20m": Archive(
        _GROUPLENS + "ml-20m.zip", "cd245b17a1ae2cc31bb14903e1204af3", None, _GROUPLENS_LICENCE
    ),
    "movielens-25m": Archive(
        _GROUPLENS + "ml-25m.zip", "6b51fb2759a8657d3bfcbfc42b592ada", None, _GROUPLENS_LICENCE
    ),
}
"""The archives that can be downloaded, by name."""


def fetch(
    name: str, directory: str | Path, *, from_file: str | Path | None = None, progress: Progress | None = None
) -> Path:
    """Download the archive of a data set into a folder and return its path.

    A valid copy that is there already is kept. An interrupted download leaves a ``.part`` file, which the
    next call resumes.

    Args:
        name: one of `ARCHIVES`.
        directory: created if needed.
        from_file: a copy that was downloaded by hand; it is checked and copied instead of downloading.
        progress: called with the bytes received and the total, about once per megabyte.

    Raises:
        ConfigError: an unknown name.
        DownloadError: the server can't be reached, or the file does not match the checksum.
    """
    if name not in ARCHIVES:
        raise ConfigError(
            f"unknown data set {name!r}; choose one of {', '.join(ARCHIVES)}.{nearest(name, ARCHIVES)}"
        )
    return fetch_archive(ARCHIVES[name], directory, from_file=from_file, progress=progress)


def fetch_archive(
    archive: Archive,
    directory: str | Path,
    *,
    from_file: str | Path | None = None,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> Path:
    """Like `fetch`, for any archive; ``pause`` is the first wait in seconds between two attempts."""
    folder = Path(directory).expanduser()
    target = folder / archive.file
    part = folder / f"{archive.file}.part"
    report = progress or (lambda _done, _total: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            try:
                _verify(target, archive, _md5_of(target))
            except DownloadError as error:
                raise DownloadError(
                    f"{error}; the file was there before: delete it and fetch again"
                ) from None
            return target
        if from_file is not None:
            digest = _copy(Path(from_file).expanduser(), part, archive, report)
        else:
            digest = _download(archive, part, report, pause)
        try:
            _verify(part, archive, digest)
        except DownloadError:
            part.unlink(missing_ok=True)
            raise
        part.replace(target)
    except OSError as error:
        raise DownloadError(
            f"could not write {target}: {error.strerror or error}; choose another --out"
        ) from None
    return target


def _copy(source: Path, part: Path, archive: Archive, report: Progress) -> str:
    if not source.is_file():
        raise DownloadError(f"there is no file '{source}'; download it from {archive.url}")
    total = source.stat().st_size
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    with source.open("rb") as stream, part.open("wb") as out:
        for chunk in _chunks(stream):
            out.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            report(done, total)
    return digest.hexdigest()


def _download(archive: Archive, part: Path, report: Progress, pause: float) -> str:
    """Download into ``part``, resuming after its content, and return the checksum of the whole file."""
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    if part.exists():
        with part.open("rb") as stream:
            for chunk in _chunks(stream):
                digest.update(chunk)
                done += len(chunk)
    failures = 0
    with part.open("ab") as out:
        while True:
            before = done
            try:
                with _request(archive.url, done) as response:
                    if (
                        done and response.status != 206
                    ):  # this server can't resume: the whole file comes again
                        out.truncate(0)
                        digest, done = hashlib.md5(usedforsecurity=False), 0
                    total = _total(response.headers, done, archive.size)
                    report(done, total)
                    while chunk := response.read1(_CHUNK):
                        out.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        report(done, total)
                if total is None or done >= total:
                    return digest.hexdigest()
                reason = f"the connection ended after {done:,} of {total:,} bytes"
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == _NOT_RANGE and done:
                    return digest.hexdigest()  # nothing is left to download; the checksum decides
                reason = f"the server answered {error.code} {error.reason}"
                if error.code < 500 and error.code != 429:
                    raise _unreachable(archive, reason) from None
            except (urllib.error.URLError, HTTPException, OSError) as error:
                if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                    raise
                reason = _plain(error)
            failures = 1 if done > before else failures + 1
            if failures >= ATTEMPTS:
                raise _unreachable(archive, reason)
            time.sleep(pause * 2 ** (failures - 1))


def _request(url: str, offset: int) -> HTTPResponse:
    headers = {"User-Agent": "twotower", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    assert isinstance(response, HTTPResponse)
    return response


def _total(headers: Message, offset: int, published: int | None) -> int | None:
    length = headers.get("Content-Length")
    return offset + int(length) if length is not None and length.isdigit() else published


def _plain(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _unreachable(archive: Archive, reason: str) -> DownloadError:
    host = urllib.parse.urlsplit(archive.url).hostname
    return DownloadError(
        f"could not reach {host}: {reason}; download {archive.url} by hand and pass --from FILE"
    )


def _md5_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _verify(path: Path, archive: Archive, digest: str) -> None:
    """Check the published checksum; without one, check the zip against its own checksums."""
    if archive.md5 is not None:
        if digest != archive.md5:
            raise DownloadError(
                f"the md5 checksum of {archive.file} must be {archive.md5}, got {digest} "
                f"({path.stat().st_size:,} bytes); download it again"
            )
        return
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"{archive.file} is not a complete zip file ({error})") from None
    if bad is not None:
        raise DownloadError(f"{archive.file} is damaged: the checksum of its member '{bad}' does not match")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
