"""The most expensive request bodies within the limits: delay of `/healthz` and memory growth.

    python benchmarks/serving_abuse.py [RUN] [--times 5] [--only NAME ...] [--schema]

Without RUN a model is created: users with features and a history of 300 items each, 10,728 items. Each body
is sent --times times to its own server on loopback; meanwhile another process requests `/healthz` every 5 ms.
It prints the median over the runs of the longest wait, the peak memory increase, and the response. With
--schema, schemathesis tests every route, standalone and mounted, with each token and without: no 5xx, and no
unauthorised response.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

import twotower as tt
from serving import Started, ours

MIB = 1 << 20
MOST_MS, MOST_MIB = 100.0, 200.0

WATCH = """
import http.client, sys, time
talk = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))
longest = 0.0
print("ready", flush=True)
while True:
    start = time.perf_counter()
    talk.request("GET", "/healthz")
    talk.getresponse().read()
    took = time.perf_counter() - start
    print(took, flush=True)
    time.sleep(0.005)
"""


def made_run(folder: Path, n_users: int = 2_000, n_items: int = 10_728) -> Path:
    """Create a finished run with features of every kind that a request may send."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(n_users), 300)
    events = pl.DataFrame({"user_id": user, "item_id": rng.integers(0, n_items, len(user))}).unique()
    users = pl.DataFrame(
        {
            "user_id": np.arange(n_users),
            "age": rng.normal(40, 10, n_users),
            "group": rng.integers(0, 50, n_users),
            "tags": [[f"t{i % 7}", f"t{i % 11}"] for i in range(n_users)],
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(n_items),
            "kind": [f"kind {i % 20}" for i in range(n_items)],
            "year": 1950 + np.arange(n_items) % 70,
            "title": [f"item {i}, " + "a long title " * 5 for i in range(n_items)],
        }
    )
    schema = {
        "users": {"age": "number", "group": "category", "tags": "categories"},
        "items": {"kind": "category"},
        "display": ["title", "kind", "year"],
    }
    data = tt.Dataset.of(events, users, items, schema=schema)
    tt.TwoTower(dim=64, epochs=1, objective="all_pairs").fit(data.as_train()).save(folder / "bundle")
    (folder / "config.toml").write_text('[data]\nsource = "kuairec-sample"\n')
    (folder / "metrics.json").write_text("{}")
    return folder


def filled(start: str, part: str, end: str, most: int = 4 * MIB) -> bytes:
    """Return the largest allowed body, with a part repeated as often as it fits."""
    times = (most - len(start) - len(end)) // len(part)
    return (start + (part * times).rstrip(",") + end).encode()


def bodies() -> dict[str, tuple[str, bytes]]:
    """Return paths and bodies of all kinds: refused ones and the largest allowed ones."""
    recommend, events, score = "/v1/recommend", "/v1/events", "/v1/score"
    ids = list(range(1000))
    many = [{"features": {"age": i / 7, "group": i % 50, "tags": ["t1", f"t{i % 7}"]}} for i in ids]
    odd = [{"features": {"age": "1.5", "group": i % 50, "tags": "t1, t2"}} for i in ids]
    liked = [{"items": [(i * 31 + j) % 10_000 for j in range(240)]} for i in ids]
    one_list = [j % 10_000 for j in range(10_000)]
    told = [{"id": f"{i}", "user_id": i % 50, "item_id": i % 10_000} for i in range(10_000)]
    fat = [{"id": f"f{i}", "user_id": 7, "item_id": i % 10_000} for i in range(10_000)]
    deny = {"users": ids, "k": 100, "deny": one_list, "exclude_seen": True}
    return {
        "wrong users": (recommend, filled('{"users": [', "1.5,", "]}")),
        "empty objects": (recommend, filled('{"users": [', "{},", "]}")),
        "empty lists": (recommend, filled('{"users": [', "[],", "]}")),
        "one-pair objects": (recommend, filled('{"users": [', '{"":1},', "]}")),
        "deep": (recommend, b"[" * 4 * MIB),
        "unknown keys": (
            recommend,
            b"{" + b",".join(b'"%d":1' % i for i in range(350_000)) + b"}",
        ),
        "one long key": (recommend, b'{"' + b"k" * (4 * MIB - 20) + b'": 1}'),
        "wrong allow": (recommend, filled('{"users": [1], "allow": [', "null,", "]}")),
        "wrong events": (events, filled('{"events": [', "1,", "]}")),
        "wrong event values": (
            events,
            filled('{"events": [', '{"id":1,"time":[],"kind":7},', "]}"),
        ),
        "wrong pairs": (score, filled('{"pairs": [', '{"user_id":1.5},', "]}")),
        "strings": (recommend, filled('{"users": [', '"ab",', "]}")),
        "1-byte numbers": (recommend, filled('{"users": [', "1,", "]}")),
        "1,000 users, k 100": (
            recommend,
            json.dumps({"users": ids, "k": 100}).encode(),
        ),
        "100 users, k 1,000": (
            recommend,
            json.dumps({"users": ids[:100], "k": 1000}).encode(),
        ),
        "1,000 users by features": (
            recommend,
            json.dumps({"users": many, "k": 10}).encode(),
        ),
        "1,000 users by odd features": (
            recommend,
            json.dumps({"users": odd, "k": 10}).encode(),
        ),
        "1,000 users by 240 items": (
            recommend,
            json.dumps({"users": liked, "k": 10}).encode(),
        ),
        "10,000 denied to 1,000": (recommend, json.dumps(deny).encode()),
        "explain 50, k 1,000": (
            recommend,
            json.dumps({"users": [7], "k": 1000, "explain": 50}).encode(),
        ),
        "explain 50 for 190": (
            recommend,
            json.dumps({"users": ids[:190], "k": 10, "explain": 50}).encode(),
        ),
        "explain past the limit": (
            recommend,
            json.dumps({"users": ids, "k": 100, "explain": 50}).encode(),
        ),
        "filters": (
            recommend,
            json.dumps(
                {
                    "users": ids,
                    "filters": {
                        "kind": ["kind 1", "kind 2"],
                        "year": {"min": 1960, "max": 2000},
                    },
                }
            ).encode(),
        ),
        "10,000 pairs": (
            score,
            json.dumps({"pairs": [{"user_id": i % 2000, "item_id": i} for i in range(10_000)]}).encode(),
        ),
        "10,000 events": (events, json.dumps({"events": told}).encode()),
        "10,000 events of one user": (events, json.dumps({"events": fat}).encode()),
        "who has 10,000 events, explained": (
            recommend,
            json.dumps({"users": [7], "k": 1000, "explain": 50}).encode(),
        ),
    }


class Watched:
    """A process that continuously requests `/healthz`."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        command = [sys.executable, "-c", WATCH, host, port]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.took: list[float] = []
        assert self.process.stdout is not None
        self.process.stdout.readline()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.took.append(float(line))


def memory_kept(server: Started) -> None:
    """Reset the process's peak memory."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def most_memory(server: Started) -> float:
    """Return the process's peak memory since then, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def abuse(run: Path, scratch: Path, times: int, only: list[str] | None) -> bool:
    """Print the effect of each body on other requests."""
    server = ours(run, scratch / "abuse.db")
    within = True
    try:
        watch = Watched(server.address)
        time.sleep(2)
        idle = (
            statistics.median(max(watch.took[i : i + 50]) for i in range(0, len(watch.took) - 50, 50)) * 1e3
        )
        print(f"idle: /healthz waits at most {idle:.1f} ms within a quarter of a second")
        for name, (path, body) in bodies().items():
            if only and not any(one in name for one in only):
                continue
            waits, grown, status, took = [], [], 0, []
            for _ in range(times):
                memory_kept(server)
                before, first = server.memory(), len(watch.took)
                start = time.perf_counter()
                answer = httpx.post(server.address + path, content=body, timeout=120)
                took.append(time.perf_counter() - start)
                status = answer.status_code
                time.sleep(0.3)
                waits.append(max(watch.took[first:]) * 1e3)
                grown.append(most_memory(server) - before)
            wait, most = statistics.median(waits), max(grown)
            good = wait < MOST_MS and most < MOST_MIB and status < 500
            within &= good
            print(
                f"{name}: {status} in {statistics.median(took):.2f} s, /healthz waits {wait:.0f} ms, "
                f"{most:.0f} MiB more{'' if good else '  <-- over the limit'}",
                flush=True,
            )
        watch.process.kill()
    finally:
        server.end()
    return within


TOKENS = {scope: f"a token for {scope}, as long" for scope in ("read", "events", "items", "metrics", "admin")}


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application in a thread and yield its address."""
    import uvicorn  # noqa: PLC0415

    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def statuses(operation: Any, address: str, headers: dict[str, str], most: int) -> list[int]:
    """Return the statuses of generated requests to one operation."""
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415

    found: list[int] = []

    @settings(
        max_examples=most,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        with contextlib.suppress(UnicodeError):  # not sendable by a client
            answer = case.call(base_url=address, headers=headers)
            nowhere = "there is nothing at this path" in answer.text or answer.text == "Not Found"
            found.append(401 if nowhere else answer.status_code)  # no such route

    send()
    return found


def schema(run: Path, scratch: Path, examples: int) -> bool:
    """Test every route with schemathesis, standalone and mounted, with each token and without."""
    import schemathesis  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.routing import Mount  # noqa: PLC0415

    from twotower.server import Settings, Token, create_app  # noqa: PLC0415

    tokens = [Token(secret, frozenset({scope})) for scope, secret in TOKENS.items()]
    counts = {"requests": 0, "5xx": 0, "unauthorised": 0}
    for prefix in ("", "/rec/v1"):
        app = create_app(Settings(run / "bundle", str(scratch / "schema.db"), tokens=tokens))
        outer = Starlette(
            routes=[Mount("/rec/v1", app)],
            lifespan=lambda _, app=app: app.router.lifespan_context(app),
        )
        described = app.openapi()
        described = {
            **described,
            "paths": {prefix + path: what for path, what in described["paths"].items()},
        }
        loaded = schemathesis.openapi.from_dict(described)
        with serving(outer if prefix else app) as address:
            for found in loaded.get_all_operations():
                operation: Any = found
                operation = operation.ok()
                declared = operation.definition.raw["security"]
                scope = next(iter(declared[0]["token"])) if declared else None
                for name, token in [
                    ("none", None),
                    ("wrong", "not a token at all"),
                    *TOKENS.items(),
                ]:
                    headers = {} if token is None else {"authorization": f"Bearer {token}"}
                    allowed = scope is None or name == scope
                    most = examples if allowed else max(5, examples // 5)
                    for status in statuses(operation, address, headers, most):
                        entered = not allowed and status not in (
                            401,
                            403,
                            404,
                            405,
                            413,
                        )
                        counts["asked"] += 1
                        counts["5xx"] += status >= 500
                        counts["unauthorised"] += entered
    print(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
    return not counts["5xx"] and not counts["unauthorised"]


def main() -> None:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of bodies, or substrings")
    parser.add_argument("--schema", action="store_true", help="run schemathesis instead")
    parser.add_argument("--examples", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run = asked.run or made_run(scratch / "run")
        good = (
            schema(run, scratch, asked.examples)
            if asked.schema
            else abuse(run, scratch, asked.times, asked.only)
        )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
