"""The same answers on Ray: NDCG@100 and RMSE of one process and of 1, 2 and 4 workers.

    python benchmarks/ray_answers.py --data /data [--workers 1 2 4]

On ``kuairec-sample`` and ``ml-100k`` linear towers are trained by `all_pairs` and by `squared`, with
every setting at its default: width, regularisation and hard negatives are chosen on the validation set too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import twotower as tt


def movielens(folder: Path) -> tt.Dataset:
    """Read MovieLens 100k as Parquet tables."""
    tables = [folder / f"{name}.parquet" for name in ("interactions", "users", "items")]
    users = {"age": "number", "gender": "category", "occupation": "category"}
    items = {"release_year": "number", "genres": "categories"}
    schema = {"user": "user_id", "item": "item_id", "label": "rating", "users": users, "items": items}
    return tt.read_dataset(tables[0], tables[1], tables[2], schema=schema)


def main() -> None:
    """Train, and print a JSON line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=["kuairec-sample", "ml-100k"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    for name in given.sets:
        data = tt.datasets.load(name) if name == "kuairec-sample" else movielens(given.data / name)
        train, test = tt.split(data, "random", test=0.1, seed=42)
        for objective, metric in (("all_pairs", "ndcg@100"), ("squared", "rmse")):
            alone = None
            for workers in (0, *given.workers):
                start = time.perf_counter()
                engine = tt.Ray(workers=workers) if workers else None
                model = tt.TwoTower(kind="linear", objective=objective).fit(train, engine=engine)
                value = (
                    model.evaluate(test, resamples=10, ranking=objective == "all_pairs").metrics[metric].value
                )
                alone = alone or model
                same = alone.users.vectors.shape == model.users.vectors.shape
                apart = float(np.abs(alone.users.vectors - model.users.vectors).max()) if same else None
                told = {"data": name, "objective": objective, "workers": workers, metric: round(value, 6)}
                told |= {"vectors_apart": apart, "epochs": len(model.history)}
                print(json.dumps(told | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
