"""The same answers on Ray: NDCG@100 and RMSE of one process and of 1, 2 and 4 workers.

    python benchmarks/ray_answers.py --data /data [--kinds linear mlp sequence] [--workers 1 2 4] [--epochs 6]

On ``kuairec-sample`` and ``ml-100k`` linear towers are trained by `all_pairs` and by `squared`, with
every setting at its default: width, regularisation and hard negatives are chosen on the validation set too.
Towers that learn by gradients are ``mlp`` by `all_pairs`, `softmax` and `squared` and, where there are times,
``sequence`` by `softmax`; one process trains them with other seeds too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import twotower as tt

BY = {
    "linear": ("all_pairs", "squared"),
    "mlp": ("all_pairs", "softmax", "squared"),
    "sequence": ("softmax",),
}
"""Objectives of each kind of towers."""
SEEDS = (42, 43, 44)


def movielens(folder: Path) -> tt.Dataset:
    """Read MovieLens 100k as Parquet tables."""
    tables = [folder / f"{name}.parquet" for name in ("interactions", "users", "items")]
    users = {"age": "number", "gender": "category", "occupation": "category"}
    items = {"release_year": "number", "genres": "categories"}
    schema = {"user": "user_id", "item": "item_id", "label": "rating", "timestamp": "timestamp"}
    return tt.read_dataset(tables[0], tables[1], tables[2], schema=schema | {"users": users, "items": items})


def main() -> None:
    """Train, and print a JSON line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=["kuairec-sample", "ml-100k"])
    parser.add_argument("--kinds", nargs="+", default=list(BY), choices=list(BY))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--epochs", type=int, help="most epochs of towers that learn by gradients")
    given = parser.parse_args()
    for name in given.sets:
        data = tt.datasets.load(name) if name == "kuairec-sample" else movielens(given.data / name)
        train, test = tt.split(data, "random", test=0.1, seed=42)
        for kind in given.kinds:
            if kind != "sequence" or data.schema.timestamp is not None:
                for objective in BY[kind]:
                    compare(name, train, test, kind, objective, given)


def compare(
    name: str,
    train: tt.TrainPart,
    test: tt.Dataset,
    kind: str,
    objective: str,
    given: argparse.Namespace,
) -> None:
    """Train one kind of towers in one process and on workers."""
    metric = "rmse" if objective == "squared" else "ndcg@100"
    settings: dict[str, Any] = {"kind": kind, "objective": objective}
    if kind != "linear" and given.epochs:
        settings["epochs"] = given.epochs
    runs = [(0, SEEDS[0]), *((workers, SEEDS[0]) for workers in given.workers)]
    runs += [(0, seed) for seed in SEEDS[1:]] if kind != "linear" else []
    alone = None
    for workers, seed in runs:
        start = time.perf_counter()
        engine = tt.Ray(workers=workers) if workers else None
        model = tt.TwoTower(**settings, seed=seed).fit(train, engine=engine, progress=False)
        value = model.evaluate(test, resamples=10, ranking=metric != "rmse").metrics[metric].value
        alone = alone or model
        same = alone.users.vectors.shape == model.users.vectors.shape and seed == SEEDS[0]
        apart = float(np.abs(alone.users.vectors - model.users.vectors).max()) if same else None
        told = {"data": name, "kind": kind, "objective": objective, "workers": workers, "seed": seed}
        told |= {metric: round(value, 6), "vectors_apart": apart, "epochs": len(model.history)}
        print(json.dumps(told | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
