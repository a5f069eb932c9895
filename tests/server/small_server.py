"""A small model with features, labels and cold rows, and a server of it in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from forked_server import ForkedProcess

from twotower.data.dataset import Dataset, TrainPart
from twotower.estimator import TwoTower
from twotower.recommender import Recommender

N_USERS, N_ITEMS = 40, 60
COLD_USER, COLD_ITEM = 1039, 559
ADMIN = "the admin's"
HERE: dict[str, Any] = {"hosts": ("testserver",), "open": True}
"""Settings without a token for Starlette's TestClient, which is no client of this machine."""


def train_part(*, ids: str = "int", label: bool = True, verb: str | None = None, seed: int = 0) -> TrainPart:
    """Users 1000.. and items 500..; the last of each has features but no interaction."""
    rng = np.random.default_rng(seed)
    cell = rng.choice((N_USERS - 1) * (N_ITEMS - 1), 700, replace=False)
    user, item = cell // (N_ITEMS - 1), cell % (N_ITEMS - 1)
    stars = rng.gamma(2.0, 0.5 + 2.0 * (user % 3 == item % 3))
    events = pl.DataFrame({"user_id": user + 1000, "item_id": item + 500, "stars": stars})
    users = pl.DataFrame({"user_id": np.arange(N_USERS) + 1000, "group": np.arange(N_USERS) % 3})
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS) + 500,
            "kind": [f"kind {i % 3}" for i in range(N_ITEMS)],
            "tags": [[f"t{i % 4}", "all"] for i in range(N_ITEMS)],
            "title": [None if i == 4 else f"电影 {i} <b>" for i in range(N_ITEMS)],
            "year": [None if i == 5 else 1960 + i for i in range(N_ITEMS)],
        }
    )
    if ids == "str":
        events = events.with_columns(
            pl.format("u/{}", "user_id").alias("user_id"), pl.format("i\n{}", "item_id").alias("item_id")
        )
        users = users.with_columns(pl.format("u/{}", "user_id").alias("user_id"))
        items = items.with_columns(pl.format("i\n{}", "item_id").alias("item_id"))
    schema: dict[str, Any] = {
        "users": {"group": "category"},
        "items": {"kind": "category", "tags": "categories"},
        "display": ["title", "kind", "year", "tags"],
    }
    if label:
        schema["label"] = "stars"
    if verb is not None:
        schema["verb"] = verb
    return Dataset.of(events, users, items, schema=schema).as_train()


def fitted(*, seed: int = 0, **given: Any) -> Recommender:
    """Return a model that ranks, trained for a moment."""
    data = {key: given.pop(key) for key in ("ids", "label", "verb") if key in given}
    settings = {
        "dim": 16,
        "kind": "mlp",
        "hidden": (8,),
        "threads": 1,
        "epochs": 3,
        "learning_rate": 0.05,
        "objective": "all_pairs",
    }
    if data.get("label", True):
        settings["positive"] = 1.5
    return TwoTower(seed=seed, **(settings | given)).fit(train_part(seed=seed, **data))


def numbers() -> Recommender:
    """Return a model of users with an age, which JSON can get wrong in ways of its own."""
    rng = np.random.default_rng(0)
    cell = rng.choice(20 * 30, 200, replace=False)
    events = pl.DataFrame({"user_id": cell // 30, "item_id": cell % 30})
    users = pl.DataFrame({"user_id": np.arange(20), "age": rng.normal(size=20)})
    items = pl.DataFrame({"item_id": np.arange(30)})
    data = Dataset.of(events, users, items, schema={"users": {"age": "number"}})
    return TwoTower(dim=8, kind="mlp", hidden=(4,), threads=1, epochs=1, objective="all_pairs").fit(
        data.as_train()
    )


def run_of(model: Recommender, folder: Path) -> Path:
    """Make a finished run of a model."""
    model.save(folder / "bundle")
    (folder / "config.toml").write_text('[data]\nsource = "kuairec-sample"\n', encoding="utf-8")
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    return folder


class ServerProcess:
    """``twotower serve`` in a process of its own: a forked one, or with ``started`` one of ``python -m``."""

    def __init__(self, run: Path, *arguments: str, started: bool = False, **env: str) -> None:
        words = ["serve", str(run), "--port", "0", *arguments]
        self.process: ForkedProcess | subprocess.Popen[str]
        if started:
            command = [sys.executable, "-m", "twotower", *words]
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | env)
        else:
            self.process = ForkedProcess(words, os.environ | env)
        self.lines: list[str] = []
        self.address = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("serving "):
                self.address = line.split(" at ")[1].split(" ")[0]
                break
        assert self.address, "".join(self.lines)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Any:
        """Return the answer of one request."""
        data = None if body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address.rstrip("/") + path, data, names, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def wait_for(self, text: str) -> None:
        """Wait until the log has a line with the text."""
        deadline = time.monotonic() + 30
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self._reader.join(timeout=5)
        return code


@contextlib.contextmanager
def uvicorn_of(app: Any, **given: Any) -> Iterator[int]:
    """Run uvicorn in a thread, and give its port."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", **given))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=10)
