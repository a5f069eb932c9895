"""Tables on a server that speaks S3, by PyArrow's file system and, where it is installed, by s3fs."""

import contextlib
import importlib.util
import socket
import socketserver
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from twotower.data import access
from twotower.data.remote import remote
from twotower.data.streaming.source import TableSource
from twotower.data.tables import read_table
from twotower.errors import BundleError, DataError

moto = pytest.importorskip("moto.server", reason="needs a server that speaks S3: moto")
boto3 = pytest.importorskip("boto3")

EVENTS = pl.DataFrame({"user": range(1000), "item": [f"i{n % 7}" for n in range(1000)]})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a server with an empty bucket."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="shop")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["pyarrow", "s3fs"])
def bucket(request: pytest.FixtureRequest, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the bucket."""
    if request.param == "s3fs":
        pytest.importorskip("s3fs")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "s3fs" != request.param else found(name, *rest),
    )
    monkeypatch.setattr(access, "_WAIT", 0)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return "s3://shop"


def test_tables_are_written_and_read(bucket: str, tmp_path: Path) -> None:
    for day in (1, 2):
        with remote(f"{bucket}/events/day={day}/part.parquet").replacing() as path:
            EVENTS.write_parquet(path, row_group_size=100)
        with remote(f"{bucket}/text/day={day}.csv").replacing() as path:
            EVENTS.write_csv(path)
    whole = pl.concat([EVENTS.with_columns(day=pl.lit(day, pl.Int64)) for day in (1, 2)])
    assert_frame_equal(read_table(f"{bucket}/events"), whole)
    source = TableSource(f"{bucket}/events/day=*")
    assert source.rows() == 2000
    batches = list(source.batches(["item", "day"], rows=300))
    assert_frame_equal(pl.concat([batch.frame for batch in batches]), whole[["item", "day"]])
    assert batches[0].file == f"{bucket}/events/day=1/part.parquet"
    text = TableSource(f"{bucket}/text/*.csv")
    assert_frame_equal(pl.concat([batch.frame for batch in text.batches(rows=300)]), pl.concat([EVENTS] * 2))
    keyed = f"{bucket.replace('s3://', 's3://k:s@')}/text/day=1.csv"
    assert_frame_equal(read_table(keyed), EVENTS)


def test_what_is_not_there_is_said(bucket: str) -> None:
    for url in (f"{bucket}/none.csv", f"{bucket}-none/t.csv"):
        with pytest.raises(DataError, match=f"there is no file {url}"):
            read_table(url)
    with (
        pytest.raises(BundleError, match=r"could not write s3://shop-none/t\.csv"),
        remote(f"{bucket}-none/t.csv").replacing() as path,
    ):
        path.write_text("a")


def test_a_server_that_is_gone_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    if importlib.util.find_spec("s3fs") is not None:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(DataError, match=r"s3://away/t.csv can't be read .*the connection"):
        read_table("s3://away/t.csv")


class _Cutting(socketserver.BaseRequestHandler):
    """Passes bytes on to the server, and drops every other connection after some of its answer."""

    behind = ("", 0)
    count = 0

    def handle(self) -> None:
        type(self).count += 1
        left = 3000 if self.count % 2 else 1 << 30
        with socket.create_connection(self.behind) as server:
            Thread(target=_pass_on, args=(self.request, server), daemon=True).start()
            while left > 0 and (data := server.recv(min(left, 4096))):
                self.request.sendall(data)
                left -= len(data)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(4096):
            server.sendall(data)


def test_dropped_connections_cost_no_rows(
    bucket: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote(f"{bucket}/dropped.csv").replacing() as path:
        EVENTS.write_csv(path)
    host, port = endpoint.removeprefix("http://").split(":")
    _Cutting.behind, _Cutting.count = (host, int(port)), 0
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Cutting) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_address[1]}")
        if importlib.util.find_spec("s3fs") is not None:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
        batches = list(TableSource(f"{bucket}/dropped.csv").batches(rows=300))
        proxy.shutdown()
    assert_frame_equal(pl.concat([batch.frame for batch in batches]), EVENTS)
    assert _Cutting.count > 2
