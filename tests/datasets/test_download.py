"""Downloads against a server on this machine that resumes, cuts the connection and fails as told."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from twotower.datasets.download import ARCHIVES, Archive, fetch, fetch_archive
from twotower.errors import ConfigError, DownloadError


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("data/big.csv", bytes(range(256)) * 12_000)
    return buffer.getvalue()


CONTENT = a_zip()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; what it does wrong is set by the test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.resumes = True
        self.says_length = True
        self.cuts: list[int] = []  # bytes after which each of the next answers breaks off
        self.codes: list[int] = []  # status of each of the next answers instead of the content
        self.ranges: list[str | None] = []  # what was asked for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sets/Set%20One.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if server.codes:
            self.send_response(server.codes.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted and server.resumes:
            found = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert found
            start = int(found.group(1))
            if start >= len(server.content):
                self.send_response(416)
                self.end_headers()
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        if start:
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def archive(server: Server, md5: str | None = MD5) -> Archive:
    return Archive(server.url, md5, len(CONTENT) if md5 else None, "free")


def get(server: Server, folder: Path, md5: str | None = MD5, **options: object) -> Path:
    return fetch_archive(archive(server, md5), folder, pause=0.001, **options)  # type: ignore[arg-type]


def test_a_whole_download(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    path = get(server, tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total)))

    assert path == tmp_path / "new" / "folder" / "Set One.zip"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_good_file_is_left_alone(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path)
    before = path.stat().st_mtime_ns

    assert get(server, tmp_path) == path

    assert path.stat().st_mtime_ns == before
    assert len(server.ranges) == 1


def test_a_bad_file_that_was_there_is_not_touched(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "Set One.zip"
    path.write_bytes(b"mine")

    with pytest.raises(DownloadError, match="the file was there before: delete it"):
        get(server, tmp_path)

    assert path.read_bytes() == b"mine"
    assert server.ranges == []


def test_a_cut_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000_000, 500_000, 300_000]

    assert get(server, tmp_path).read_bytes() == CONTENT

    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1800000-"]


def test_a_later_call_goes_on_from_the_part(server: Server, tmp_path: Path) -> None:
    server.cuts = [700_000, *[0] * 10]
    with pytest.raises(
        DownloadError, match=r"could not reach 127\.0\.0\.1: the connection ended after 700,000 of"
    ):
        get(server, tmp_path)
    assert (tmp_path / "Set One.zip.part").read_bytes() == CONTENT[:700_000]
    server.cuts, server.ranges = [], []

    assert get(server, tmp_path).read_bytes() == CONTENT

    assert server.ranges == ["bytes=700000-"]


def test_a_complete_part_needs_nothing_more(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Set One.zip.part").write_bytes(CONTENT)

    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_can_not_resume_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.resumes, server.cuts = False, [1_000_000]

    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_length(server: Server, tmp_path: Path) -> None:
    server.says_length, server.cuts = False, [1_000_000]

    assert get(server, tmp_path).read_bytes() == CONTENT  # the published size tells that it was cut


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 429, 500]

    assert get(server, tmp_path).read_bytes() == CONTENT


def test_retries_wait_longer_each_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.codes = [503] * 10

    with pytest.raises(DownloadError, match="the server answered 503"):
        fetch_archive(archive(server), tmp_path, pause=1.0)

    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_refusal_is_not_repeated(server: Server, tmp_path: Path) -> None:
    server.codes = [404]

    with pytest.raises(DownloadError, match="the server answered 404"):
        get(server, tmp_path)

    assert len(server.ranges) == 1


def test_a_wrong_checksum_names_both_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    got = hashlib.md5(server.content).hexdigest()

    with pytest.raises(DownloadError) as caught:
        get(server, tmp_path)

    assert MD5 in str(caught.value)
    assert got in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_something_else_does_not_get_through(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Set One.zip.part").write_bytes(b"something else")

    with pytest.raises(DownloadError, match="checksum"):
        get(server, tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_without_a_published_sum_the_zips_own_is_checked(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "good", None).read_bytes() == CONTENT

    flipped = bytearray(CONTENT)
    flipped[5000] ^= 1
    server.content = bytes(flipped)
    with pytest.raises(DownloadError, match=r"damaged.*'data/big\.csv'"):
        get(server, tmp_path / "flipped", None)

    server.content = CONTENT[:-40]
    with pytest.raises(DownloadError, match="not a complete zip"):
        get(server, tmp_path / "short", None)
    assert list((tmp_path / "short").iterdir()) == []


def test_offline_is_one_line_with_the_mend(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()

    with pytest.raises(DownloadError) as caught:
        get(server, tmp_path)

    message = str(caught.value)
    assert message.startswith("could not reach 127.0.0.1: ")
    assert message.endswith(f"; download {server.url} by hand and pass --from FILE")
    assert "\n" not in message


def test_an_unknown_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    with pytest.raises(
        DownloadError, match=r"could not reach zenodo\.org: Name or service not known; .*--from"
    ):
        fetch("kuairec", tmp_path)


def test_a_file_downloaded_by_hand(server: Server, tmp_path: Path) -> None:
    mine = tmp_path / "mine.zip"
    mine.write_bytes(CONTENT)
    seen: list[tuple[int, int | None]] = []

    path = get(
        server, tmp_path / "data", from_file=mine, progress=lambda done, total: seen.append((done, total))
    )

    assert path.read_bytes() == mine.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert server.ranges == []


def test_a_wrong_file_by_hand_is_kept_but_not_taken(server: Server, tmp_path: Path) -> None:
    mine = tmp_path / "mine.zip"
    mine.write_bytes(CONTENT[:100])

    with pytest.raises(DownloadError, match=f"must be {MD5}"):
        get(server, tmp_path / "data", from_file=mine)

    assert mine.exists()
    assert list((tmp_path / "data").iterdir()) == []
    with pytest.raises(DownloadError, match="there is no file"):
        get(server, tmp_path / "data", from_file=tmp_path / "absent.zip")


def test_a_folder_that_can_not_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(DownloadError, match="could not write"):
        get(server, tmp_path / "file" / "folder")


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown data set 'movielens-10m'; .* Did you mean 'movielens-1"):
        fetch("movielens-10m", tmp_path)


def test_what_is_published() -> None:
    kuairec = ARCHIVES["kuairec"]

    assert kuairec.file == "KuaiRec.zip"
    assert (kuairec.size, kuairec.md5) == (431_964_858, "261550d472c48eff4990fb13c0e5bcf7")
    assert {name for name, archive in ARCHIVES.items() if archive.md5 is None} == {"movielens-latest-small"}
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://")
        assert archive.md5 is None or re.fullmatch(r"[0-9a-f]{32}", archive.md5)
