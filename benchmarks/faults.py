"""Kill workers and nodes of a Ray cluster while it trains and ranks, and compare the results.

    python benchmarks/faults.py [--kills 20] [--nodes 5] [--kind mlp]

A cluster of a head without CPUs and two nodes of one CPU each is simulated on this machine: each node has its
own processes and object store. Linear towers are trained on ``kuairec-sample`` by `all_pairs`, and top-100
lists of all users are written to Parquet, again and again; each time a worker process, chosen at random, is
killed (SIGKILL) at a random moment, or a node with all its processes is. A new node joins in every second
case only, so that training goes on with fewer workers in the others. Right means: vectors within 1e-5 of
those of one process, and the very same file of lists. With ``--kind mlp`` towers learn by gradients, and only
training is interrupted; right is within 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import twotower as tt
from twotower.errors import TwoTowerWarning
from twotower.recommender import recommender as recommender_module
from twotower.workflows import recommend_all

SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"dim": 64, "regularisation": 0.33, "hard_weight": 0.0, "epochs": 8},
    "mlp": {"dim": 64, "regularisation": 0.33, "epochs": 3},
}
NEAR = {"linear": 1e-5, "mlp": 1e-4}


def killed(work: Callable[[], Any], kill: Callable[[], None], seconds: float) -> tuple[Any, float]:
    """Run some work, and kill something while it runs; return what the work returns, and the seconds."""
    timer = threading.Timer(seconds, kill)
    timer.start()
    start = time.perf_counter()
    try:
        return work(), time.perf_counter() - start
    finally:
        timer.cancel()
        timer.join()


def main() -> None:
    """Kill, and print a JSON line for each kill and one for all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--kind", choices=list(SETTINGS), default="linear", help="towers that are trained")
    given = parser.parse_args()
    warnings.simplefilter("ignore", TwoTowerWarning)
    recommender_module.USERS_AT_ONCE = 50  # many blocks, though the data is small
    os.environ.update(RAY_worker_niceness="0")  # before Ray is imported: nodes take it over
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    data = tt.datasets.load("kuairec-sample")
    train, _ = tt.split(data, "random", test=0.5, seed=42)
    one = tt.TwoTower(kind=given.kind, **SETTINGS[given.kind])
    alone = one.fit(train)
    folder = Path(tempfile.mkdtemp())
    recommend_all(alone, folder / "alone.parquet", 100)
    lists = (folder / "alone.parquet").read_bytes()
    rng = np.random.default_rng(0)
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    right = {"training": 0, "lists": 0}
    done = dict.fromkeys(right, 0)
    with tt.Ray(cluster.address) as engine:

        def trained() -> bool:
            model = one.fit(train, engine=engine)
            pairs = ((model.users, alone.users), (model.items, alone.items))
            return all(np.abs(a.vectors - b.vectors).max() < NEAR[given.kind] for a, b in pairs)

        def listed() -> bool:
            recommend_all(alone, folder / "ray.parquet", 100, engine=engine)
            return (folder / "ray.parquet").read_bytes() == lists

        work = {"training": trained, "lists": listed}
        if given.kind == "mlp":
            del work["lists"]
        usual = {}
        for what, of in work.items():
            of()  # compiles
            start = time.perf_counter()
            assert of()
            usual[what] = time.perf_counter() - start

        def kill_worker() -> None:
            actors = engine.team().actors
            actor = actors[int(rng.integers(len(actors)))]
            try:
                os.kill(pid_of(actor), signal.SIGKILL)
            except Exception as error:  # it is gone already
                print(json.dumps({"not killed": str(error)[:80]}))

        def kill_node() -> None:
            cluster.remove_node(nodes.pop(int(rng.integers(len(nodes)))), allow_graceful=False)
            if join:
                nodes.append(cluster.add_node(num_cpus=1, wait=False))

        plans = [("worker", kill_worker)] * given.kills + [("node", kill_node)] * given.nodes
        for number, (name, kill) in enumerate(plans):
            what = list(work)[number % len(work)]
            join = number % 2 == 0
            if name == "node" and len(nodes) < 2:
                nodes.append(cluster.add_node(num_cpus=1))
            after = float(rng.random() * usual[what])
            fine, seconds = killed(work[what], kill, after)
            done[what] += 1
            right[what] += bool(fine)
            told = {"killed": name, "during": what, "after": round(after, 2), "of": round(usual[what], 2)}
            print(json.dumps(told | {"right": bool(fine), "seconds": round(seconds, 1)}), flush=True)
    print(json.dumps({"kills": done, "right": right}))
    cluster.shutdown()


def pid_of(actor: Any) -> int:
    """Return the process of a worker."""
    import ray  # noqa: PLC0415

    found: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=5)
    return found


if __name__ == "__main__":
    main()
