"""The time of one query with fresh events: a model that folds in beside one whose user tower reads histories.

    python benchmarks/one_query.py [--kind sequence ...] [--items 10728] [--history 100] [--calls 2000]

Both are trained for an epoch on random interactions of 150 users: only time is measured. Then random users,
known ones and new ones, ask with 1, 10 and 50 events since training: vectors alone (`encode_queries`), lists
(`recommend`), lists of a user whose events the server just read (no HTTP), and reasons (`explain`).
Lastly over HTTP, wall time: a server of each answers in turn for a user of whom an event has just been sent.
Otherwise one thread, CPU seconds of this process, so that other load counts less; median and p99 in
microseconds, and the ratio of the p99 to that of folding in.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import torch
from threadpoolctl import threadpool_limits

import twotower as tt
from serving import ours
from twotower.recommender import Recommender
from twotower.server.queries import AskedUser
from twotower.server.ranking import lists
from twotower.server.state import State
from twotower.server.store import Event
from twotower.server.user_events import Past
from twotower.server.wanted import Wanted
from twotower.server.workers import Deadline

FOLDED, N_USERS = "folds in", 150
NEVER = Deadline(float("inf"))


def measured(ask: Callable[[int], Any], calls: int) -> tuple[float, float]:
    """Return median and p99 of the CPU time of a call, in microseconds."""
    for number in range(50):
        ask(number)
    gc.collect()
    gc.disable()
    took = np.empty(calls)
    for number in range(calls):
        start = time.process_time_ns()
        ask(number)
        took[number] = time.process_time_ns() - start
    gc.enable()
    return float(np.median(took) / 1e3), float(np.quantile(took, 0.99) / 1e3)


def cases(model: Recommender, calls: int) -> dict[str, tuple[float, float]]:
    """Return what each case takes."""
    draw = np.random.default_rng(0)
    users, items = model.user_ids.to_list(), model.item_ids.to_list()
    state, found = State.of(model, "0"), dict[str, tuple[float, float]]()

    def some(n: int) -> list[Any]:
        return [items[row] for row in draw.integers(0, len(items), n)]

    asked = [int(user) for user in draw.integers(0, len(users), calls)]
    for n in (1, 10, 50):
        known = [tt.Query(user=users[user], history=some(n)) for user in asked]
        new = [tt.Query(history=some(n)) for _ in asked]
        pasts = []
        for user in asked:
            events = [
                Event(str(k), str(users[user]), str(item), "interaction", None, 2e9)
                for k, item in enumerate(some(n))
            ]
            pasts.append(AskedUser("users.0", users[user], Past(n, events)))

        def serve(number: int, pasts: list[AskedUser] = pasts) -> Any:
            one = pasts[number]
            one.past.solved.clear()
            return list(lists(state, [one], Wanted(10), NEVER))

        def vector(number: int, of: list[tt.Query] = known) -> Any:
            return model.encode_queries(of[number])

        def new_vector(number: int, of: list[tt.Query] = new) -> Any:
            return model.encode_queries(of[number])

        def recommend(number: int, of: list[tt.Query] = known) -> Any:
            return model.recommend(of[number], 10)

        found |= {
            f"vector of a known user, {n} events": measured(vector, calls),
            f"vector of someone new, {n} items": measured(new_vector, calls),
            f"list of a known user, {n} events": measured(recommend, calls),
            f"list in the server, {n} events": measured(serve, calls),
        }
    few = max(calls // 20, 20)
    found["explain one item, 10 events"] = measured(
        lambda at: model.explain(tt.Query(user=users[asked[at]], history=items[:10]), items[20]), few
    )
    return found


def over_http(models: dict[str, Recommender], calls: int) -> dict[str, tuple[float, float]]:
    """Return median and p99 of the wall time of a list after an event, in microseconds."""
    draw = np.random.default_rng(2)
    took: dict[str, list[float]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        clients = {}
        for place, (name, model) in enumerate(models.items()):
            run = Path(folder) / str(place)
            model.save(run / "bundle")
            (run / "config.toml").write_text('[data]\nsource = "kuairec-sample"\n')
            (run / "metrics.json").write_text("{}")
            server = ours(run, run / "events.db")
            stack.callback(server.end)
            clients[name] = stack.enter_context(httpx.Client(base_url=server.address))
        for call in range(calls):
            user, item = int(draw.integers(0, N_USERS)), int(draw.integers(0, 10_000))
            for name, client in clients.items():
                event = {"id": str(call), "user_id": user, "item_id": item}
                client.post("/v1/events", json={"events": [event]}).raise_for_status()
                start = time.perf_counter()
                client.get(f"/v1/recommend/{user}").raise_for_status()
                took[name].append((time.perf_counter() - start) * 1e6)
    return {
        name: (float(np.median(own[50:])), float(np.quantile(own[50:], 0.99))) for name, own in took.items()
    }


def random_set(n_items: int, each: int, n_users: int = N_USERS) -> tt.TrainPart:
    """Return random interactions with times."""
    draw = np.random.default_rng(1)
    n = n_users * each
    table = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), each),
            "item_id": np.append(np.arange(n_items), draw.integers(0, n_items, n))[:n],
            "time": draw.uniform(1e9, 1.1e9, n),
        }
    )
    return tt.Dataset.of(table, schema={"timestamp": "time"}).as_train()


def main() -> None:
    """Train both, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument(
        "--kind", nargs="*", default=["sequence"], help="kinds of towers that read histories"
    )
    arguments.add_argument("--items", type=int, default=10_728)
    arguments.add_argument("--history", type=int, default=100, help="interactions of a user in training")
    arguments.add_argument("--calls", type=int, default=2_000)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    train = random_set(given.items, given.history)
    with threadpool_limits(1):
        made: dict[str, Recommender] = {
            name: tt.TwoTower(dim=dim, epochs=1, refit=False, threads=1).fit(train)
            for name, dim in ((FOLDED, 64), (f"{FOLDED}, dim 256", 256))
        }
        for kind in given.kind:
            made[kind] = tt.TwoTower(kind=kind, epochs=1, refit=False, threads=1).fit(train)
        took = {name: cases(model, given.calls) for name, model in made.items()}
    for name, found in over_http(made, given.calls).items():
        took[name]["over HTTP, after an event"] = found
    for name, model in made.items():
        lengths = model.seen.lengths
        print(f"{name}: dim {model.model.dim}, {np.median(lengths):.0f} items a user in training")
    for case, (_, slowest) in took[FOLDED].items():
        line = f"{case:34s}"
        for name, times in took.items():
            median, p99 = times[case]
            line += f"  {name} {median:6.0f} / {p99:6.0f} us" + (
                "" if name == FOLDED else f" ({p99 / slowest:.2f})"
            )
        print(line)


if __name__ == "__main__":
    main()
