"""The server under load, compared with a plain FastAPI + NumPy handler in the same run.

    python benchmarks/serving.py [RUN] [--items 10728] [--hnsw] [--rate 300] [--only speed ...]

Without RUN a model with random vectors is used: --items items, 7,176 users with 200 seen items each. The
client is a separate process on the same machine; requests are sent at fixed times (open loop), and latency is
measured from when a request was due, so that a slow response is not hidden by the requests it delayed.

- speed: time from start to ready, memory, p50 and p99 at --rate, and the highest rate with p99 under 50 ms.
- events: events/s in batches of 1,000, each on disk before the response.
- kill: kill -9 under event load, 50 times; every acknowledged event must be stored exactly once.
- reload: 100 reloads under load; no request may fail.
- fuzz: 500 damaged bundles; each must be refused or give the answers of the intact one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

import twotower as tt
from twotower.core.lists import Lists
from twotower.errors import BundleError
from twotower.recommender import Recommender
from twotower.recommender.parts import Catalogue, EntityVectors, Interactions
from twotower.retrieval import HnswIndex, exact_top_k

ADMIN = "benchmark"
PLAIN = """
import sys
import numpy as np, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
U, V, indptr, seen = (np.load(f"{sys.argv[1]}/{n}.npy") for n in ("U", "V", "indptr", "seen"))
ids = np.load(f"{sys.argv[1]}/ids.npy").tolist()
rows = {name: row for row, name in enumerate(np.load(f"{sys.argv[1]}/users.npy").tolist())}
app = FastAPI()
class Body(BaseModel):
    users: list[int]
    k: int = 10
@app.post("/v1/recommend")
async def recommend(body: Body):
    results = []
    for user in body.users:
        row = rows[user]
        scores = V @ U[row]
        scores[seen[indptr[row]:indptr[row + 1]]] = -np.inf
        best = np.argpartition(scores, -body.k)[-body.k:]
        best = best[np.argsort(-scores[best])]
        results.append({"user_id": user, "items": [{"item_id": ids[i], "rank": n, "score": float(scores[i])}
                                                   for n, i in enumerate(best.tolist(), 1)]})
    return {"results": results}
@app.get("/readyz")
async def readyz():
    return {}
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


def made_run(
    folder: Path, n_items: int, dim: int, *, seed: int = 0, n_users: int = 7176, hnsw: bool = False
) -> Path:
    """Create a finished run with random, clustered vectors: only serving is measured."""
    rng = np.random.default_rng(seed)
    small = pl.DataFrame({"user_id": np.arange(50), "item_id": np.arange(50)})
    data = tt.Dataset.of(small, schema={})
    model = tt.TwoTower(
        dim=dim, ensemble_size=1, kind="mlp", hidden=(8,), epochs=1, objective="all_pairs"
    ).fit(data.as_train())
    centres = rng.normal(size=(200, dim)).astype(np.float32)
    U = centres[rng.integers(0, 200, n_users)] + rng.normal(size=(n_users, dim)).astype(np.float32)
    V = centres[rng.integers(0, 200, n_items)] + rng.normal(size=(n_items, dim)).astype(np.float32)
    ids = pl.Series("item_id", np.arange(n_items))
    each = min(200, n_items // 10)
    seen = rng.integers(0, n_items, (n_users, each)).astype(np.int32)
    made = replace(
        model,
        catalogue=Catalogue(
            users=EntityVectors(pl.Series("user_id", np.arange(n_users)), U, np.ones(n_users, bool)),
            items=EntityVectors(ids, V, np.ones(n_items, bool)),
            display=pl.DataFrame({"item_id": ids, "title": [f"item {i}" for i in range(n_items)]}),
            item_duration=None,
        ),
        interactions=Interactions(Lists(np.arange(0, n_users * each + 1, each), seen.reshape(-1)), None),
    )
    if hnsw:
        made = replace(made, index=HnswIndex.build(V))
    folder.mkdir(parents=True)
    made.save(folder / "bundle")
    (folder / "config.toml").write_text('[data]\nsource = "kuairec-sample"\n')
    (folder / "metrics.json").write_text("{}")
    return folder


class Started:
    """A server process and its start-up time."""

    def __init__(self, command: list[str], address: str | None = None) -> None:
        start = time.perf_counter()
        env = os.environ | {
            "TWOTOWER_ADMIN_TOKEN": ADMIN,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        self.address = address or ""
        assert self.process.stderr is not None
        if address is None:
            for line in self.process.stderr:
                if line.startswith("serving "):
                    self.address = line.split(" at ")[1].split(" ")[0].rstrip("/")
                    break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.address}/readyz").status_code == 200:
                    break
            assert self.process.poll() is None, "the server did not start"
            time.sleep(0.01)
        self.seconds = time.perf_counter() - start

    def memory(self) -> float:
        """Return resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait()


def ours(run: Path, store: Path) -> Started:
    """Start our server, logging only warnings, like the plain handler."""
    return Started(
        [
            sys.executable,
            "-m",
            "twotower",
            "serve",
            str(run),
            "--port",
            "0",
            "--store",
            str(store),
            "--log-level",
            "warning",
        ]
    )


def plain(run: Path, scratch: Path, port: int) -> Started:
    """Start the plain handler on the same vectors."""
    model = Recommender.load(run / "bundle")
    parts: dict[str, np.ndarray[Any, Any]] = {
        "U": model.users.vectors,
        "V": model.items.vectors,
        "indptr": model.seen.indptr,
        "seen": model.seen.values,
        "ids": model.item_ids.to_numpy(),
        "users": model.user_ids.to_numpy(),
    }
    for name, values in parts.items():
        np.save(scratch / f"{name}.npy", values)
    return Started([sys.executable, "-c", PLAIN, str(scratch), str(port)], f"http://127.0.0.1:{port}")


LOAD = """
import asyncio, json, sys, time
import numpy as np

async def main(host, port, users, rate, seconds):
    free, late, failed = [], [], 0

    most = asyncio.Semaphore(200)  # connections; waiting for one counts as latency

    async def one(body, due):
        nonlocal failed
        async with most:
            reader, writer = free.pop() if free else await asyncio.open_connection(host, port)
            head = b"POST /v1/recommend HTTP/1.1\\r\\nhost: [::]\\r\\ncontent-type: application/json\\r\\n"
            writer.write(head + b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            await reader.readexactly(length)
            failed += not head.startswith(b"HTTP/1.1 200")
            free.append((reader, writer))
        late.append(time.perf_counter() - due)

    rng = np.random.default_rng(0)
    start = time.perf_counter() + 0.05
    tasks = []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        body = json.dumps({"users": [int(users[rng.integers(len(users))])], "k": 10}).encode()
        tasks.append(asyncio.create_task(one(body, due)))
    await asyncio.gather(*tasks)
    took = time.perf_counter() - start
    late = np.array(late[len(late) // 10:]) * 1e3
    p50, p99 = np.percentile(late, [50, 99])
    print(json.dumps({"p50": p50, "p99": p99, "rate": rate * seconds / took, "failed": failed}))

given = json.load(sys.stdin)
import uvloop
uvloop.run(main(**given))
"""


def load(address: str, users: list[int], rate: float, seconds: float) -> dict[str, float]:
    """Send requests at a rate from a separate process."""
    host, port = address.removeprefix("http://").split(":")
    given = {"host": host, "port": int(port), "users": users, "rate": rate, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def highest(address: str, users: list[int], seconds: float) -> float:
    """Return the highest rate with p99 under 50 ms, to within 10%."""
    held, rate = 0.0, 200.0
    while rate < 20_000:
        found = load(address, users, rate, seconds)
        if found["p99"] > 50 or found["failed"] or found["rate"] < 0.97 * rate:
            break
        held, rate = rate, rate * 1.5
    low, high = held, rate
    while high / max(low, 1) > 1.1:
        middle = (low * high) ** 0.5 if low else high / 2
        found = load(address, users, middle, seconds)
        if found["p99"] > 50 or found["failed"] or found["rate"] < 0.97 * middle:
            high = middle
        else:
            low = middle
        if high < 20:
            break
    return low


def speed(run: Path, scratch: Path, rate: float, seconds: float) -> None:
    """Print latency, rate, start-up time and memory of both."""
    users = Recommender.load(run / "bundle").user_ids.to_list()[:5000]
    sides: dict[str, Callable[[], Started]] = {
        "twotower": lambda: ours(run, scratch / "speed.db"),
        "FastAPI + NumPy": lambda: plain(run, scratch, 8971),
    }
    for name, start in sides.items():
        server = start()
        try:
            load(server.address, users, 100, 2)
            found = load(server.address, users, rate, seconds)
            most = highest(server.address, users, min(seconds, 5))
            print(
                f"{name}: ready in {server.seconds:.2f} s, {server.memory():.0f} MiB; "
                f"at {found['rate']:.0f}/s p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms, "
                f"{found['failed']:.0f} failed; highest rate with p99 < 50 ms: {most:.0f}/s",
                flush=True,
            )
        finally:
            server.end()


def events(run: Path, scratch: Path) -> None:
    """Print events/s in batches from four concurrent senders."""
    model = Recommender.load(run / "bundle")
    users, items = model.user_ids.to_list(), model.item_ids.to_list()
    server = ours(run, scratch / "batches.db")
    rng = random.Random(0)

    async def send(sender: int, client: httpx.AsyncClient) -> int:
        stored = 0
        for batch in range(15):
            body = [
                {"id": f"{sender}/{batch}/{n}", "user_id": rng.choice(users), "item_id": rng.choice(items)}
                for n in range(1000)
            ]
            answer = await client.post("/v1/events", json={"events": body})
            stored += answer.json()["stored"]
        return stored

    async def main() -> tuple[int, float]:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
            start = time.perf_counter()
            stored = sum(await asyncio.gather(*(send(sender, client) for sender in range(4))))
            return stored, time.perf_counter() - start

    try:
        stored, took = asyncio.run(main())
        print(
            f"events: {stored:,} in {took:.2f} s, {stored / took:,.0f}/s in batches of 1,000, including the "
            "sender"
        )
    finally:
        server.end()


def kill(run: Path, scratch: Path, times: int) -> None:
    """Kill the server under event load, and check every acknowledged event."""
    model = Recommender.load(run / "bundle")
    users, items = model.user_ids.to_list()[:100], model.item_ids.to_list()
    store, answered, tried = scratch / "kill.db", [], []
    rng = random.Random(0)
    for life in range(times):
        server = ours(run, store)
        stop = threading.Event()

        def send(
            sender: int, life: int = life, server: Started = server, stop: threading.Event = stop
        ) -> None:
            own = random.Random(life * 100 + sender)
            with httpx.Client(base_url=server.address) as client:
                for number in range(10**9):
                    if stop.is_set():
                        return
                    names = [f"{life}/{sender}/{number}/{n}" for n in range(5)]
                    body = [
                        {"id": n, "user_id": own.choice(users), "item_id": own.choice(items)} for n in names
                    ]
                    tried.extend(names)
                    try:
                        if client.post("/v1/events", json={"events": body}).status_code == 200:
                            answered.extend(names)
                    except httpx.HTTPError:
                        return

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, 0.6))
        server.end(signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()
    server = ours(run, store)
    kept = [name for (name,) in sqlite3.connect(store).execute("select id from events")]
    server.end()
    lost, doubled = set(answered) - set(kept), len(kept) - len(set(kept))
    invented = set(kept) - set(tried)
    print(
        f"kill -9 x {times}: {len(answered):,} events acknowledged, {len(lost)} lost, {doubled} duplicated, "
        f"{len(invented)} never sent"
    )
    assert not lost
    assert not doubled
    assert not invented


def reload(run: Path, scratch: Path, times: int) -> None:
    """Reload under load, and count failed requests."""
    users = Recommender.load(run / "bundle").user_ids.to_list()[:1000]
    server = ours(run, scratch / "reload.db")
    codes: dict[int | str, int] = {}
    stop = threading.Event()

    def ask(sender: int) -> None:
        own = random.Random(sender)
        with httpx.Client(base_url=server.address, timeout=60) as client:
            while not stop.is_set():
                try:
                    code: int | str = client.get(f"/v1/recommend/{own.choice(users)}").status_code
                except httpx.HTTPError as error:
                    code = type(error).__name__
                codes[code] = codes.get(code, 0) + 1

    threads = [threading.Thread(target=ask, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    for _ in range(times):
        answer = httpx.post(
            f"{server.address}/v1/admin/reload", headers={"authorization": f"Bearer {ADMIN}"}, timeout=60
        )
        assert answer.status_code == 200, answer.text
    took = time.perf_counter() - start
    stop.set()
    for thread in threads:
        thread.join()
    memory = server.memory()
    server.end()
    print(
        f"reload x {times} in {took:.1f} s under load: responses by status {codes}; {memory:.0f} MiB at the "
        "end"
    )
    assert set(codes) == {200}


def damaged(bundle: Path, other: Path, rng: random.Random) -> str:
    """Damage a bundle in one way, and return a description."""
    part = rng.choice(sorted(path for path in bundle.iterdir() if path.is_file()))
    content = bytearray(part.read_bytes())
    how = rng.choice(["flip", "cut", "swap", "grow", "empty", "remove", "text", "zeros"])
    if how == "flip" and content:
        for _ in range(rng.choice([1, 1, 8])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del content[rng.randrange(len(content) + 1) :]
    elif how == "swap":
        content = bytearray((other / part.name).read_bytes())
    elif how == "grow":
        content += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 100)))
    elif how == "empty":
        content = bytearray()
    elif how == "zeros" and content:
        at = rng.randrange(len(content))
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif how == "text":
        content = bytearray(
            rng.choice([b"null", b"[]", b"{}", b'{"format": 1e999}', b'{"format": "1"}', b"\xff"])
        )
    if how == "remove":
        part.unlink()
    else:
        part.write_bytes(bytes(content))
    return f"{how} {part.name}"


def fuzz(run: Path, scratch: Path, cases: int) -> None:
    """Load damaged bundles; each must be refused or give the answers of the intact one."""
    bundle = run / "bundle"
    whole = Recommender.load(bundle)
    other = made_run(scratch / "other", len(whole.item_ids), whole.model.dim, seed=1) / "bundle"
    users = whole.users.vectors[:50]
    expected = exact_top_k(users, whole.items.vectors, 10)
    rng, refused, same = random.Random(0), 0, 0
    for case in range(cases):
        target = scratch / "damaged"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundle, target)
        how = damaged(target, other, rng)
        try:
            found = Recommender.load(target)
        except BundleError:
            refused += 1
            continue
        answer = exact_top_k(found.users.vectors[:50], found.items.vectors, 10)
        assert (answer.items == expected.items).all(), f"case {case}, {how}: another answer"
        assert (answer.scores == expected.scores).all(), f"case {case}, {how}: another score"
        same += 1
    print(f"fuzz: {cases} damaged bundles, {refused} refused, {same} with unchanged answers, 0 crashes")


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--items", type=int, default=10_728)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--hnsw", action="store_true", help="search with HNSW, as for a million items")
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--cases", type=int, default=500)
    parts = ["speed", "events", "kill", "reload", "fuzz"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    given = parser.parse_args()
    with workplace() as scratch:
        run = given.run or made_run(scratch / "run", given.items, given.dim, hnsw=given.hnsw)
        works: dict[str, Any] = {
            "speed": lambda: speed(run, scratch, given.rate, given.seconds),
            "events": lambda: events(run, scratch),
            "kill": lambda: kill(run, scratch, given.kills),
            "reload": lambda: reload(run, scratch, given.reloads),
            "fuzz": lambda: fuzz(run, scratch, given.cases),
        }
        for name in given.only:
            works[name]()


if __name__ == "__main__":
    main()
