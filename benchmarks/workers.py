"""Several workers at one address: CPU of a request, balance, memory, and a rolling restart under load.

    python benchmarks/workers.py [--workers 2] [--requests 4000] [--users 200000] [--items 100000]

The same requests are sent to one process and to N workers, at a rate that both hold. The client's cost is
left out: only CPU seconds of the server's processes count, as the system has them. One process can answer
``requests / CPU seconds`` a second; N workers on N cores as many as the busiest of them lets pass. So the
ratio of the highest rates is

    CPU of one process / CPU of the busiest worker, for the same requests.

Nothing else on the machine changes it, apart from what processes that share caches cost each other. Memory is
the proportional set size of all processes of a server; the shared copy of the bundle counts once. Then all
workers are replaced one after another (SIGUSR2) while requests are sent; each that fails is counted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from serving import Started, made_run


def started(run: Path, store: Path, workers: int) -> Started:
    """Start a server, logging only warnings."""
    words = ["serve", str(run), "--port", "0", "--store", str(store), "--log-level", "info"]
    server = Started([sys.executable, "-m", "twotower", *words, "--workers", str(workers)])
    server.address = server.address.rstrip("/")
    return server


CONNECTIONS = 200
"""Connections that are open, as under load; the system divides them among the workers, not requests."""


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(server: Started) -> list[int]:
    """Return the processes of a server that answer requests."""
    pid = server.process.pid
    return [one for one in children(pid) if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()] or [pid]


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(server: Started) -> float:
    """Return the proportional set size of all processes of a server, MiB."""
    pid, total = server.process.pid, 0
    for one in (pid, *children(pid)):
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024


def measure(server: Started, users: list[int], requests: int, rate: float) -> dict[str, Any]:
    """Return CPU seconds of each process for so many requests."""
    host, port = server.address.removeprefix("http://").split(":")
    open_ = [http.client.HTTPConnection(host, int(port), timeout=60) for _ in range(CONNECTIONS)]
    rng = np.random.default_rng(0)

    def ask(number: int) -> int:
        connection = open_[number % CONNECTIONS]
        body = json.dumps({"users": [int(rng.choice(users))], "k": 10})
        for _ in range(2):
            try:
                connection.request("POST", "/v1/recommend", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                return int(answer.status != 200)
            except (ConnectionError, http.client.HTTPException):  # it was idle for too long
                connection.close()
        return 1

    failed = sum(map(ask, range(2 * CONNECTIONS)))  # caches, lazily made parts
    before = {pid: cpu(pid) for pid in family(server)}
    for number in range(requests):
        failed += ask(number)
        time.sleep(1 / rate)
    spent = [cpu(pid) - of for pid, of in before.items()]
    return {"cpu": spent, "failed": failed}


def rolling(server: Started, users: list[int], rate: float) -> dict[str, Any]:
    """Replace all workers under load, and return how many requests failed."""
    before, done = set(family(server)), threading.Event()
    totals = {"sent": 0, "failed": 0}

    def send() -> None:
        host, port = server.address.removeprefix("http://").split(":")
        rng = np.random.default_rng(threading.get_ident() % 2**31)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        while not done.is_set():
            body = json.dumps({"users": [int(rng.choice(users))], "k": 10})
            try:
                connection.request("POST", "/v1/recommend", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                totals["failed"] += answer.status != 200
            except (OSError, http.client.HTTPException):
                totals["failed"] += 1
                connection.close()
            totals["sent"] += 1
            time.sleep(4 / rate)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.process.send_signal(signal.SIGUSR2)
    limit = time.monotonic() + 600
    while time.monotonic() < limit and (before & set(family(server)) or len(family(server)) != len(before)):
        time.sleep(0.2)
    replaced = not before & set(family(server))
    done.set()
    for thread in threads:
        thread.join()
    return {"replaced": replaced, **totals}


def main() -> None:
    """Print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = made_run(folder / "run", given.items, given.dim, n_users=given.users, hnsw=True)
        bundle = sum(file.stat().st_size for file in (run / "bundle").iterdir()) / 2**20
        users = np.random.default_rng(0).permutation(given.users)[:5000].tolist()
        found: dict[int, dict[str, Any]] = {}
        for n in (1, given.workers):
            server = started(run, folder / f"{n}.db", n)
            try:
                found[n] = measure(server, users, given.requests, given.rate)
                found[n]["memory"] = memory(server)
                if n > 1:
                    found[n]["rolling restart"] = rolling(server, users, given.rate)
            finally:
                server.end()
        one, several = found[1], found[given.workers]
        result = {
            "bundle MiB": round(bundle),
            "CPU ms of a request, one process": round(1e3 * one["cpu"][0] / given.requests, 3),
            f"CPU ms of a request, {given.workers} workers": round(
                1e3 * sum(several["cpu"]) / given.requests, 3
            ),
            "share of the busiest worker": round(max(several["cpu"]) / sum(several["cpu"]), 3),
            "ratio of the highest rates": round(one["cpu"][0] / max(several["cpu"]), 2),
            "memory MiB": {"one": round(one["memory"]), "several": round(several["memory"])},
            "ratio of memory": round(several["memory"] / one["memory"], 2),
            "failed requests": one["failed"] + several["failed"],
            "rolling restart": several["rolling restart"],
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
