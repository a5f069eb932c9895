"""Squared error fitted in closed form against gradient training, on validation sets.

    python benchmarks/solved.py [--movielens DIR] [--seeds 42 7]

The towers trained by gradients have default settings: a hidden layer of 128, and posterior means afterwards.
Four splits each of kuairec-sample and, if given, MovieLens 100K. Prints both validation RMSEs, their
difference and the times. The test sets are not used.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from twotower import TwoTower
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts, split_three
from twotower.datasets.loading import load
from twotower.datasets.movielens import read_movielens

METHODS = {"random": 0.1, "per_user": 0.1, "cold_items": 0.2, "cold_users": 0.1}


def _rmse(parts: Parts, cap: float | None, seed: int, settings: dict[str, Any]) -> tuple[float, float]:
    """Return the validation RMSE (of capped labels if there is a cap) and the seconds."""
    label: dict[str, Any] = {"transform": "cap", "cap": cap} if cap is not None else {}
    start = time.perf_counter()
    estimator = TwoTower(objective="squared", seed=seed, refit=False, **label, **settings)
    model = estimator.fit(parts.train, parts.validation)
    took = time.perf_counter() - start
    column = parts.train.schema.label
    assert column is not None
    y = parts.validation.interactions[column].to_numpy().astype(float)
    predicted = model.predict(parts.validation)
    if cap is not None:
        y, predicted = np.minimum(y, cap), np.minimum(predicted, cap)
    return float(np.sqrt(np.mean((y - predicted) ** 2))), took


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K, raw files or Parquet tables")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42, 7])
    given = arguments.parse_args()
    sets: list[tuple[str, Dataset, float | None]] = [("kuairec-sample", load("kuairec-sample"), 5.0)]
    if given.movielens:
        sets.append(("movielens-100k", read_movielens(given.movielens), None))
    gaps = []
    for name, data, cap in sets:
        for method, share in METHODS.items():
            for seed in given.seeds:
                parts = split_three(data, method, share, 0.1, seed)
                solved, quick = _rmse(parts, cap, seed, {})
                learnt, slow = _rmse(parts, cap, seed, {"kind": "mlp", "hidden": (128,)})
                gaps.append(100 * (solved / learnt - 1))
                print(
                    f"{name:15s} {method:10s} {seed:3d}  closed form {solved:.4f} ({quick:4.1f} s)  "
                    f"gradients {learnt:.4f} ({slow:4.1f} s)  {gaps[-1]:+.2f}%",
                    flush=True,
                )
    print(
        f"closed form against gradients: mean {np.mean(gaps):+.2f}%, from {min(gaps):+.2f}% to "
        f"{max(gaps):+.2f}%"
    )


if __name__ == "__main__":
    main()
