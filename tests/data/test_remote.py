"""Tables at addresses are read as those on a disk are; what is wrong with an address is one clear error."""

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from polars.testing import assert_frame_equal

from twotower.config import dump_config, load_config
from twotower.core.urls import with_secrets, without_secrets
from twotower.data import access
from twotower.data import remote as remote_module
from twotower.data.streaming.source import TableSource
from twotower.data.table_files import files_of_table
from twotower.data.tables import column_names, read_dataset, read_table
from twotower.errors import ConfigError, DataError, MissingExtraError

EVENTS = pl.DataFrame(
    {"user_id": [1, 2, 3, 1, 2], "item_id": ["a", "b", "007", "b", "a"], "y": [1.0, 0.5, 0.0, 2.0, 1.5]}
)


class Flaky(MemoryFileSystem):
    """A file system that fails or gives fewer bytes than were asked for, again and again."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    faults: list[object] = []  # noqa: RUF012
    """What the next requests do: raise an error, or give a number of bytes fewer; then all is well."""
    asked = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("flaky://", "memory://"))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        type(self).asked += 1
        fault = self.faults.pop(0) if self.faults else 0
        if isinstance(fault, Exception):
            raise fault
        data = super().cat_file(path, start, end, **kwargs)
        return data[: len(data) - int(str(fault))]


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture(params=["memory", "file", "flaky"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty folder."""
    monkeypatch.setattr(access, "_WAIT", 0)
    Flaky.faults, Flaky.asked = [], 0
    place = {"file": f"file://{tmp_path}/far"}.get(request.param, f"{request.param}://far")
    yield place
    if request.param != "file":
        fsspec.filesystem(request.param).rm("far", recursive=True)


def put(url: str, content: bytes) -> None:
    system, key = fsspec.core.url_to_fs(url)
    system.makedirs(key.rsplit("/", 1)[0], exist_ok=True)
    system.pipe_file(key, content)


def csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def parquet(frame: pl.DataFrame, path: Path) -> bytes:
    frame.write_parquet(path / "t.parquet", row_group_size=2)
    return (path / "t.parquet").read_bytes()


def test_files_folders_and_patterns(folder: str, tmp_path: Path) -> None:
    put(f"{folder}/t.csv", csv(EVENTS))
    put(f"{folder}/t.csv.gz", gzip.compress(csv(EVENTS)))
    put(f"{folder}/u.csv", csv(EVENTS).decode().encode("utf-16"))
    put(f"{folder}/t.jsonl", EVENTS.write_ndjson().encode())
    put(f"{folder}/t.parquet", parquet(EVENTS, tmp_path))
    put(f"{folder}/t.part", parquet(EVENTS, tmp_path))
    for name in ("t.csv", "t.csv.gz", "u.csv", "t.jsonl", "t.parquet", "t.part"):
        url = f"{folder}/{name}"
        assert column_names(url) == EVENTS.columns
        assert_frame_equal(read_table(url), EVENTS)
        source = TableSource(url)
        assert source.bytes() > 0
        batches = list(source.batches(["item_id", "y"], rows=2))
        assert_frame_equal(pl.concat([batch.frame for batch in batches]), EVENTS[["item_id", "y"]])
        assert {batch.file for batch in batches} == {url}
    assert TableSource(f"{folder}/t.parquet").rows() == 5
    assert [part.path.name for part in files_of_table(f"{folder}/?.csv")] == ["t.csv", "u.csv"]
    data = read_dataset(f"{folder}/t.csv", schema={"label": "y"})
    assert len(data) == 5


def test_partitions(folder: str) -> None:
    for day, rows in (("2", EVENTS[:2]), ("10", EVENTS[2:])):
        put(f"{folder}/all/day={day}/p-1.csv", csv(rows))
    put(f"{folder}/all/other/p.csv", b"x\n1\n")
    put(f"{folder}/all/_SUCCESS", b"")
    whole = EVENTS.with_columns(day=pl.Series([2, 2, 10, 10, 10]))
    assert_frame_equal(read_table(f"{folder}/all"), whole)
    assert_frame_equal(read_table(f"{folder}/all/day=*"), whole)
    assert_frame_equal(read_table(f"{folder}/all/**/p-*.csv"), whole)
    assert_frame_equal(read_table(f"{folder}/all/day=10"), EVENTS[2:])
    batches = TableSource(f"{folder}/all").batches(rows=2)
    assert_frame_equal(pl.concat([batch.frame for batch in batches]), whole)


@pytest.mark.parametrize("folder", ["flaky"], indirect=True)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_lost_connection_gives_all_rows_or_one_error(
    folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "_FIRST", 64)
    monkeypatch.setattr(remote_module, "_MOST", 128)
    content = {"t.csv": csv(EVENTS), "t.parquet": parquet(EVENTS, tmp_path)}
    put(f"{folder}/{name}", content.get(name, gzip.compress(csv(EVENTS))))
    read_table(f"{folder}/{name}")
    faults: list[object] = [ConnectionError("reset"), 3, TimeoutError(), OSError("broken"), 1]
    for place in range(0, Flaky.asked, 3):
        for few in (faults[:4], [faults[place % 5]]):
            Flaky.faults = [0] * place + few
            assert_frame_equal(read_table(f"{folder}/{name}"), EVENTS)
            Flaky.faults = [0] * place + few
            batches = TableSource(f"{folder}/{name}").batches(rows=2)
            assert_frame_equal(pl.concat([batch.frame for batch in batches]), EVENTS)
        Flaky.faults = [0] * place + faults
        with pytest.raises(DataError, match=rf"flaky://far/{name} can't be read .*Check the .* connection"):
            read_table(f"{folder}/{name}")
        Flaky.faults = [0] * place + [faults[1]] * 5
        with pytest.raises(DataError, match="can't be read"):
            list(TableSource(f"{folder}/{name}").batches(rows=2))


def test_what_is_not_there_is_said(folder: str) -> None:
    put(f"{folder}/t.txt.bin", b"x")
    with pytest.raises(DataError, match=r"there is no file .*far/u.csv"):
        read_table(f"{folder}/u.csv")
    for empty in (f"{folder}/*.csv", folder):
        with pytest.raises(DataError, match="must have files of a table"):
            read_table(empty)
    with pytest.raises(DataError, match=r"has the suffix '\.bin'"):
        read_table(f"{folder}/t.txt.bin")


def test_an_address_that_cannot_be_used_is_one_error() -> None:
    with pytest.raises(ConfigError, match=r"protocol that fsspec knows.* got s33://b/t.csv.* 's3'"):
        read_table("s33://b/t.csv")
    for url, extra, package in (("gs://b/t.csv", "gcs", "gcsfs"), ("abfs://c@a/t.csv", "azure", "adlfs")):
        if not _installed(package):
            with pytest.raises(MissingExtraError, match=rf"{package}: .*'twotower\[{extra}\]'"):
                read_table(url)


def _installed(package: str) -> bool:
    try:
        __import__(package)
    except ImportError:
        return False
    return True


class Closed(MemoryFileSystem):
    """A file system that may not be read."""

    protocol = "closed"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def info(self, path: str, **kwargs: Any) -> Any:
        raise PermissionError(f"no entry to {path} with {self.options}")

    def isdir(self, path: str) -> bool:
        return bool(self.info(path))


@pytest.mark.parametrize(
    ("url", "plain", "secrets"),
    [
        ("s3://AKIA:a/b+c@bucket/t@1.csv", "s3://bucket/t@1.csv", ["AKIA", "a/b+c"]),
        ("ftp://me:pa55@host/t.csv", "ftp://host/t.csv", ["pa55"]),
        ("https://tok3n@host/t.csv", "https://host/t.csv", ["tok3n"]),
        ("https://host/t.csv?sig=s1g&v=2", "https://host/t.csv?v=2", ["s1g"]),
        ("https://host:80/t@2.csv", "https://host:80/t@2.csv", []),
        ("abfs://container@account/t.csv", "abfs://container@account/t.csv", []),
        ("a:b@c.csv", "a:b@c.csv", []),
    ],
)
def test_secrets_are_apart_from_addresses(url: str, plain: str, secrets: list[str]) -> None:
    assert without_secrets(url) == plain
    opened, options = with_secrets(plain)
    assert all(secret in opened + str(options) for secret in secrets)
    assert without_secrets(plain) == plain


def test_secrets_are_in_no_config_message_or_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fsspec.register_implementation("closed", Closed, clobber=True)
    monkeypatch.setattr(remote_module, "_arrow_s3", lambda url, options: (Closed(**options), "b/t.csv"))
    caplog.set_level(logging.DEBUG)
    url, secret = "s3://AKIA9:53cr/et@b/t.csv", "53cr/et"
    path = tmp_path / "c.toml"
    path.write_text(f'[data]\ninteractions = "{url}"\nusers = "u.csv"\n[schema]\nlabel = "y"\n')
    config = load_config(path, [f"data.items={url}"])
    assert config.data.interactions == config.data.items == "s3://b/t.csv"
    assert config.data.users == str(tmp_path / "u.csv")
    for place in (str(config.data.interactions), url):
        with pytest.raises(DataError, match=r"s3://b/t.csv may not be read .*Check the credentials") as error:
            read_table(place)
        assert secret not in str(error.value) + dump_config(config) + caplog.text
        assert "AKIA9" not in str(error.value)
    with pytest.raises(ConfigError) as wrong:
        load_config(path, ["data.usrs=1", "data.columns=1"])
    assert secret not in str(wrong.value)
