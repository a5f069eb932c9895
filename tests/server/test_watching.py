"""What operators see: metrics by Prometheus' conventions, traces, the audit log, the dashboard."""

from __future__ import annotations

import json
import logging
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_server import ADMIN
from test_server_changes import BEARER, NEW, event, tell

from twotower.errors import ConfigError
from twotower.server.audit import Audit
from twotower.server.store import StoreUnavailable
from twotower.server.tracing import Tracing, trace_of

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "twotower.json"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def samples(client):
    """Return name -> list of (labels, value) of what /metrics shows."""
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for one in family.samples:
            found.setdefault(one.name, []).append((one.labels, one.value))
    return found


def of(found, name, **labels):
    return sum(value for own, value in found[name] if labels.items() <= own.items())


def test_metrics_have_conventional_names_and_say_what_happened(serving):
    client = serving(name="ranked")
    tell(client, event("a", 1003, 510))
    client.get("/v1/recommend/1003")
    client.get("/v1/recommend/nobody")
    found = samples(client)
    for name in found:
        assert re.fullmatch(r"(twotower|process|python)_[a-z_]+", name), name
        if name.startswith("twotower") and not re.search(r"_(bucket|count|sum|created)$", name):
            # a counter ends in _total, a measure in its unit
            units = ("_total", "_seconds", "_ratio", "_info", "_items", "_in_flight", "_lost")
            assert name.endswith(units), name
    route = "/v1/recommend/{user_id}"
    assert of(found, "twotower_requests_total", route=route, method="GET", status="200") == 1
    assert of(found, "twotower_request_duration_seconds_count", route=route, method="GET", status="404") == 1
    assert of(found, "twotower_requests_in_flight") == 1  # this one
    assert of(found, "twotower_lists_total", run="ranked") == 1
    assert of(found, "twotower_list_duration_seconds_count", run="ranked") == 1
    assert of(found, "twotower_store_operation_duration_seconds_count", operation="append") == 1
    assert of(found, "twotower_store_operation_duration_seconds_count", operation="events_of") >= 2
    state = client.app.state.service.state
    assert of(found, "twotower_model_loaded_timestamp_seconds", run="ranked") == pytest.approx(state.loaded)
    assert 0 <= of(found, "twotower_model_age_seconds", run="ranked") < 600
    assert of(found, "process_resident_memory_bytes") > 1e6
    assert of(found, "process_cpu_seconds_total") > 0


def test_errors_of_the_store_are_counted(client, tmp_path):
    (tmp_path / "events.db").unlink()
    assert client.get("/v1/recommend/1003").status_code == 503
    assert of(samples(client), "twotower_store_errors_total", operation="events_of") == 1


def test_the_dashboard_shows_only_metrics_that_there_are(client):
    client.get("/v1/recommend/1003")
    client.app.state.service.metrics.shadow("next", "answered", 1, 0.01, 0.5)
    tell(client, event("a", 1003, 510))
    there = set(samples(client))
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    named = set()
    for panel in panels:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            named |= set(re.findall(r"\b(?:twotower|process)_[a-z_]+", target["expr"]))
    # Those that are first shown once something of their kind happens.
    later = {"twotower_store_errors_total", "twotower_reloads_total"}
    assert named - later <= there
    assert {name.removesuffix("_count") for name in named} & {
        "twotower_requests_total",
        "twotower_model_age_seconds",
    }
    places = [(p["gridPos"]["x"], p["gridPos"]["y"], p["gridPos"]["w"], p["gridPos"]["h"]) for p in panels]
    for n, (x, y, w, h) in enumerate(places):
        assert x + w <= 24
        for other_x, other_y, other_w, other_h in places[:n]:
            apart = x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h
            assert apart


def test_every_metric_is_in_the_documentation(client):
    text = (DASHBOARD.parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(client.get("/metrics").text):
        if family.name.startswith("twotower") and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert f"`{name}`" in text, name


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_audit_log_says_who_changed_what_done_or_refused(serving, tmp_path, caplog):
    path = tmp_path / "audit.jsonl"
    client = serving(audit_log=path, token="the reader's own", name="ranked")
    reader = {"authorization": "Bearer the reader's own"}
    client.get("/v1/recommend/1003", headers=reader)  # changes nothing
    client.post("/v1/events", json={"events": [event("a", 1003, 510)]}, headers=reader)
    client.put("/v1/items/900", json={"columns": NEW}, headers=reader)
    client.delete("/v1/items/900", headers=reader)
    client.delete("/v1/items/900")
    version = client.app.state.service.state.version
    client.post("/v1/admin/reload", headers=reader)
    client.post("/v1/admin/reload", headers=BEARER)
    client.post("/v1/admin/traffic", json={"shares": {"ranked": 100}}, headers=BEARER)
    found = lines(path)
    assert [(line["action"].split("/v1/")[1], line["status"]) for line in found] == [
        ("events", 200),
        ("items/{item_id}", 201),
        ("items/{item_id}", 204),
        ("items/{item_id}", 401),
        ("admin/reload", 403),
        ("admin/reload", 200),
        ("admin/traffic", 200),
    ]
    assert (found[0]["events"], found[0]["stored"], found[1]["item_id"]) == (1, 1, "900")
    who = [line["who"] for line in found]
    assert who[0] == who[1] == who[2] != who[5] == who[6]
    assert re.fullmatch(r"token [0-9a-f]{8}", who[0])
    assert who[3] == who[4] == "refused"
    assert found[5]["runs"] == {"ranked": {"model": version, "previous": version}}
    assert (found[6]["previous"], found[6]["shares"]) == ({"ranked": 100.0}, {"ranked": 100.0})
    client.delete("/v1/users/1003", headers=BEARER)
    assert lines(path)[-1]["action"].startswith("DELETE /v1/users")
    text = path.read_text()
    assert "1003" not in text  # who was deleted is nowhere
    assert "reader's own" not in text
    assert "audit" not in [record.getMessage() for record in caplog.records]  # in the file alone
    assert ADMIN not in text
    path.rename(tmp_path / "rotated")
    client.delete("/v1/items/900", headers=reader)
    assert [line["status"] for line in lines(path)] == [404]


def test_without_a_file_changes_are_in_the_log_and_a_bad_file_is_refused(client, caplog, tmp_path):
    caplog.set_level(logging.INFO, "twotower.server")
    client.delete("/v1/items/no-such")
    (line,) = [record.fields for record in caplog.records if record.getMessage() == "audit"]
    assert (line["who"], line["status"], line["item_id"]) == ("anyone", 404, "no-such")
    with pytest.raises(ConfigError, match="--audit-log must be a file"):
        Audit(tmp_path / "no" / "folder")


def out_of_order(*given: object, **named: object) -> None:
    raise StoreUnavailable("the event store does not respond")


def test_a_request_is_a_span_of_its_trace_with_lists_and_store_within(client, caplog, monkeypatch):
    export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="needs the extra otel")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    client.app.state.service.tracing = Tracing(export.SimpleSpanProcessor(exporter))
    caplog.set_level(logging.INFO, "twotower.server")
    client.get("/v1/recommend/1003", headers={"traceparent": PARENT, "x-request-id": "mine"})
    client.get("/readyz")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"store.events_of", "lists", "GET /v1/recommend/{user_id}"}
    root = spans["GET /v1/recommend/{user_id}"]
    assert f"{root.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{root.parent.span_id:016x}" == PARENT.split("-")[2]
    assert (root.attributes["http.response.status_code"], root.status.status_code.name) == (200, "UNSET")
    assert root.attributes["twotower.request_id"] == "mine"
    for name in ("store.events_of", "lists"):
        assert spans[name].parent.span_id == root.context.span_id
    assert spans["lists"].attributes["twotower.users"] == 1
    logged = [record.fields for record in caplog.records if record.getMessage() == "request"]
    assert logged[0]["trace_id"] == PARENT.split("-")[1]
    exporter.clear()
    client.get("/v1/recommend/1003", headers={"traceparent": "00-nonsense"})
    assert {span.parent for span in exporter.get_finished_spans() if span.name.startswith("GET")} == {None}
    exporter.clear()
    monkeypatch.setattr(client.app.state.service.events, "past", out_of_order)
    assert client.get("/v1/recommend/1003").status_code == 503
    assert [span.status.status_code.name for span in exporter.get_finished_spans()] == ["ERROR"]


def test_traces_reach_a_receiver(serving):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
    got: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        client = serving(traces=f"http://127.0.0.1:{receiver.server_port}")
        client.get("/v1/similar/510")
        client.portal.call(client.app.state.service.tracing.close)
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()
    assert [path for path, _ in got] == ["/v1/traces"]
    for text in (b"GET /v1/similar/{item_id}", b"service.name"):
        assert text in got[0][1]
    with pytest.raises(ConfigError, match="--traces must be the address"):
        Tracing.to("localhost:4318")


def test_a_trace_id_is_read_from_a_valid_header_alone():
    assert trace_of(PARENT) == PARENT.split("-")[1]
    for wrong in (
        "",
        PARENT[:-1],
        PARENT.upper(),
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
    ):
        assert trace_of(wrong) == ""
