"""The way of a row through the package, from a CSV file to an answer over HTTP: functions and modules.

    python benchmarks/row_walk.py [--list]

Trains a small closed-form model on a CSV file of interactions, saves and loads it, and asks for
recommendations over HTTP. Rows pass *through* a function that is given a table, an array or a tensor (or
something that holds one) and returns one; they *touch* it if either is so, its own object counted. Set-up
(configs, checks of names, the server's start) is so left out. Prints the numbers of distinct functions and
modules for each stage and for all; ``--list`` prints the functions that rows pass through.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np
import polars as pl
import torch

import twotower as tt
from twotower.server import Settings, create_app

ROOT = str(Path(tt.__file__).parent) + "/"
THROUGH, TOUCHED = "through", "touched"
TABLES = (pl.DataFrame, pl.Series, np.ndarray, torch.Tensor)


def carries(value: Any, depth: int = 2) -> bool:
    """Return whether a value is a table, an array or a tensor, or holds one."""
    if isinstance(value, TABLES):
        return True
    if not depth:
        return False
    if isinstance(value, Mapping):
        return any(carries(one, depth - 1) for one in list(value.values())[:8])
    if isinstance(value, tuple | list):
        return any(carries(one, depth - 1) for one in value[:8])
    if is_dataclass(value) and not isinstance(value, type):
        return any(carries(getattr(value, field.name, None), depth - 1) for field in fields(value))
    return isinstance(value, torch.nn.Module)


class Walk:
    """Collects the functions that rows pass, by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, set[tuple[str, str]]]] = {}
        self.found: dict[str, set[tuple[str, str]]] = {}
        self.given: set[int] = set()

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        """Note a function of the package that is given rows and returns rows."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(ROOT):
            return
        name = (code.co_filename.removeprefix(ROOT), code.co_qualname)
        was_given = id(frame) in self.given
        if event == "return":
            self.given.discard(id(frame))
        if code.co_name.startswith("<") or name in self.found[THROUGH]:
            return
        if event == "call":
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            given = {one: carries(frame.f_locals.get(one)) for one in names}
            if any(given.values()):
                self.found[TOUCHED].add(name)
            if any(of for one, of in given.items() if one not in ("self", "cls")):
                self.given.add(id(frame))
            return
        if carries(value):
            self.found[TOUCHED].add(name)
            if was_given:
                self.found[THROUGH].add(name)

    def all(self) -> dict[str, set[tuple[str, str]]]:
        """Return what was found in any stage."""
        return {kind: set().union(*(of[kind] for of in self.stages.values())) for kind in (THROUGH, TOUCHED)}

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Do some work, and note what rows pass in it."""
        self.found = self.stages.setdefault(name, {THROUGH: set(), TOUCHED: set()})
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def counted(found: set[tuple[str, str]]) -> str:
    """Return how many functions and modules there are, as text."""
    return f"{len(found):3} functions in {len({module for module, _ in found}):2} modules"


def write_rows(path: Path) -> None:
    """Write ratings of 40 users and 30 items."""
    rng = np.random.default_rng(0)
    cell = rng.choice(40 * 30, 600, replace=False)
    user, item = cell // 30, cell % 30
    stars = 1 + 4 * (user % 3 == item % 3) * rng.random(600)
    pl.DataFrame({"user_id": user, "item_id": item, "stars": stars.round(2)}).write_csv(path)


@contextmanager
def serving(bundle: Path, store: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start a server without a socket, and give the function that asks it for recommendations."""
    app = create_app(Settings(bundle=bundle, store=str(store), open=True, hosts=("walk",)))
    web = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://walk")

    async def ask() -> dict[str, Any]:
        answer = await web.get("/v1/recommend/3", params={"k": 5})
        return dict(json.loads(answer.text))

    with asyncio.Runner() as loop:
        running = app.router.lifespan_context(app)
        loop.run(running.__aenter__())
        yield lambda: loop.run(ask())
        loop.run(running.__aexit__(None, None, None))


def main() -> None:
    """Run the walk and print the counts."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--list", action="store_true")
    given, walk = arguments.parse_args(), Walk()
    with tempfile.TemporaryDirectory() as scratch:
        path, bundle = Path(scratch) / "rows.csv", Path(scratch) / "bundle"
        write_rows(path)
        data = walk.stage("read", lambda: tt.read_dataset(path, schema={"label": "stars"}))
        train, _ = walk.stage("split", lambda: tt.split(data, "random", test=0.2, seed=1))
        settings: dict[str, Any] = {"dim": 8, "epochs": 2, "threads": 1, "positive": 3.0}
        model = walk.stage("fit", lambda: tt.TwoTower(**settings).fit(train, progress=False))
        walk.stage("save", lambda: model.save(bundle))
        walk.stage("load", lambda: tt.load(bundle))
        with serving(bundle, Path(scratch) / "events.db") as ask:
            answer = walk.stage("answer", ask)
        assert "error" not in answer, answer
    for stage, found in [*walk.stages.items(), ("all", walk.all())]:
        print(f"{stage:7} through {counted(found[THROUGH])}; touched by {counted(found[TOUCHED])}")
        if given.list and stage != "all":
            print("".join(f"        {module}: {name}\n" for module, name in sorted(found[THROUGH])), end="")


if __name__ == "__main__":
    main()
