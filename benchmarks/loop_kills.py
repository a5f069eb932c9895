"""Kill the server, the trainer and the store's writer during the whole loop: nothing lost, nothing twice.

    python benchmarks/loop_kills.py [--kills 50] [--workers 1]

A model of text ids is served; senders post events, some of them twice. Meanwhile events are exported, the run
is continued on them and reloaded, and users are deleted. In each round one process is killed with SIGKILL at
a random moment: the server (which writes the store) or the trainer (which exports and retrains).
After all rounds, and one last undisturbed round:

- every event that was acknowledged is in the store once, unless its user was deleted after it;
- the training set of the served model has each of these once, and a fresh model of the same rows agrees;
- what the server counts as events of a user and what the model has seen of them add up to what was sent;
- the id of a deleted user is in no file of the run and the store, and in no answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from twotower.recommender import Recommender

ADMIN = "0123456789abcdef" * 2
USERS, ITEMS = 60, 400
CONFIG = """
seed = 1
[data]
interactions = "interactions.parquet"
[schema]
user = "user"
item = "item"
timestamp = "at"
[model]
kind = "linear"
dim = 8
[objective]
name = "all_pairs"
regularisation = 0.3
[training]
epochs = 2
threads = 1
[evaluation]
resamples = 100
"""


def name_of(user: int) -> str:
    """Return an id that can be searched for in files."""
    return f"person-{user:03}-{'abcdefgh'[user % 8]}zq"


def made(folder: Path) -> Path:
    """Train the first run: each user has a few of the first items; events are of the others."""
    rng = np.random.default_rng(0)
    rows = [(name_of(u), f"i{i}", 1e9 + u) for u in range(USERS) for i in rng.choice(100, 12, replace=False)]
    table = pl.DataFrame(rows, schema=["user", "item", "at"], orient="row")
    more = [(name_of(n % USERS), f"i{n}", 1e9) for n in range(100, ITEMS)]  # the model knows every item
    pl.concat([table, pl.DataFrame(more, schema=table.schema, orient="row")]).write_parquet(
        folder / "interactions.parquet"
    )
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    assert command(folder, "train", "config.toml", "--out", "run").wait() == 0
    return folder / "run"


def command(folder: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start a command of twotower in a folder."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [sys.executable, "-m", "twotower", *words], cwd=folder, text=True, **{**quiet, **more}
    )


class Server:
    """A server that can be killed and started again at the same port."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers, self.address = folder, workers, ""
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        port = self.address.rsplit(":", 1)[-1] if self.address else "0"
        words = ["serve", "run", "--port", port, "--log-level", "error", "--workers", str(self.workers)]
        env = os.environ | {"TWOTOWER_ADMIN_TOKEN": ADMIN}
        self.process = command(self.folder, *words, stderr=subprocess.PIPE, env=env)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("serving "):
                self.address = line.split(" at ")[1].split(" ")[0].rstrip("/")
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def end(self, number: int) -> None:
        """End it with a signal."""
        self.process.send_signal(number)
        self.process.wait()


class World:
    """What was sent, and what became of it.

    Attributes:
        acknowledged: id of an event -> user and item.
        deleted: users who were deleted.
    """

    def __init__(self, seed: int) -> None:
        self.rng, self.stop = random.Random(seed), threading.Event()
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.deleted: set[str] = set()
        self.lock = threading.Lock()
        self.free = [
            (user, item) for user in range(USERS) for item in range(100, ITEMS) if item % USERS != user
        ]
        self.rng.shuffle(self.free)

    def send(self, server: Server) -> None:
        """Post events of pairs that nobody has had, each until it is acknowledged; some of them twice."""
        number = 0
        while not self.stop.is_set():
            with self.lock:
                if not self.free:
                    return
                user, item = self.free.pop()
                number += 1
                event = {"id": f"{id(threading.current_thread())}/{number}", "item_id": f"i{item}"}
            name = name_of(user)
            while not self.stop.is_set() and name not in self.deleted:
                try:
                    body = {"events": [{**event, "user_id": name}]}
                    answer = httpx.post(f"{server.address}/v1/events", json=body, timeout=20)
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    with self.lock:
                        self.acknowledged[event["id"]] = (name, event["item_id"])
                    if number % 5 == 0:
                        again = {"events": [{**event, "user_id": name}]}
                        with contextlib.suppress(httpx.HTTPError):
                            httpx.post(f"{server.address}/v1/events", json=again, timeout=20)
                    break
            time.sleep(0.01)


def admin(server: Server, method: str, path: str) -> bool:
    """Ask for something, and return whether it was done."""
    try:
        answer = httpx.request(
            method, server.address + path, headers={"authorization": f"Bearer {ADMIN}"}, timeout=60
        )
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def trained(folder: Path) -> bool:
    """Continue the run on the store's events, and return whether that ended well."""
    return command(folder, "train", "--from", "run", "--events", "run.events.db").wait() == 0


def check(folder: Path, server: Server, world: World) -> dict[str, Any]:
    """Check everything, and return the counts."""
    with sqlite3.connect(folder / "run.events.db") as connection:
        kept = connection.execute("select id, user, item from events").fetchall()
    names = [row[0] for row in kept]
    expected = {one: of for one, of in world.acknowledged.items() if of[0] not in world.deleted}
    lost = set(expected) - set(names)
    model = Recommender.load(folder / "run" / "bundle")
    seen: dict[str, list[str]] = {
        user: [model.items.known[row] for row in model.seen[model.users.index[user]].tolist()]
        for user in model.user_ids.to_list()
    }
    twice = sum(len(items) - len(set(items)) for items in seen.values())
    stored: dict[str, set[str]] = {}
    for _, user, item in kept:
        stored.setdefault(user, set()).add(item)
    untrained = sum(len(items - set(seen.get(user, []))) for user, items in stored.items())
    wrong = 0
    for user in map(name_of, range(USERS)):
        found = httpx.get(f"{server.address}/v1/users/{user}").json()
        both = set(seen.get(user, [])) | stored.get(user, set())
        wrong += found["seen"] + found["events"] != len(both)
    forms = {user: user.encode() for user in world.deleted}
    files = [file for file in (folder / "run").rglob("*") if file.is_file()]
    files += list(folder.glob("run.events.db*"))
    where = [(user, file.name) for file in files for user, text in forms.items() if text in file.read_bytes()]
    known = [user for user in world.deleted if httpx.get(f"{server.address}/v1/users/{user}").json()["known"]]
    return {
        "acknowledged": len(world.acknowledged),
        "of users who stay": len(expected),
        "lost": len(lost),
        "kept twice": len(names) - len(set(names)),
        "trained twice": twice,
        "not trained on after the last round": untrained,
        "users whose counts are wrong": wrong,
        "deleted users": len(world.deleted),
        "files with a deleted user": where,
        "deleted users that are known": known,
    }


def main() -> None:
    """Run the rounds and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further round after so long")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made(folder)
        server, world = Server(folder, given.workers), World(given.seed)
        senders = [threading.Thread(target=world.send, args=(server,), daemon=True) for _ in range(3)]
        for sender in senders:
            sender.start()
        rng, killed = random.Random(given.seed), {"server": 0, "trainer": 0}
        until = time.monotonic() + 60 * given.minutes
        for number in range(given.kills):
            if time.monotonic() > until:
                break
            trainer = command(folder, "train", "--from", "run", "--events", "run.events.db")
            if number % 5 == 2:
                user = name_of(rng.randrange(USERS))
                world.deleted.add(user)  # before: what is sent from now on is not expected
                admin(server, "DELETE", f"/v1/users/{user}")
            # a whole round takes some seconds, most of them imports; then export, training, saving
            time.sleep(rng.uniform(0.0, 12.0))
            if number % 2:
                killed["trainer"] += trainer.poll() is None
                trainer.kill()
                trainer.wait()
                admin(server, "POST", "/v1/admin/reload")
            else:
                reload = threading.Thread(target=admin, args=(server, "POST", "/v1/admin/reload"))
                reload.start()
                time.sleep(rng.uniform(0.0, 0.5))
                killed["server"] += 1
                server.end(signal.SIGKILL)
                server.start()
                reload.join()
                trainer.wait()
            print(f"{number + 1} {killed} {len(world.acknowledged)} events", file=sys.stderr, flush=True)
        world.stop.set()
        for sender in senders:
            sender.join()
        for user in world.deleted:  # a deletion whose answer was lost is asked for again, as a client would
            assert admin(server, "DELETE", f"/v1/users/{user}")
        assert trained(folder)
        assert admin(server, "POST", "/v1/admin/reload")
        found = check(folder, server, world)
        server.end(signal.SIGTERM)
    print(json.dumps({"killed": killed, **found}, indent=1))
    bad = ("lost", "kept twice", "trained twice", "users whose counts are wrong")
    assert not any(found[name] for name in bad)
    assert not found["files with a deleted user"]
    assert not found["deleted users that are known"]


if __name__ == "__main__":
    main()
