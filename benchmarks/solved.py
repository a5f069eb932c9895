"""Squared error solved for in closed form against learnt by gradients, on validation parts.

    python benchmarks/solved.py [--movielens DIR] [--seeds 42 7]

The towers that learn by gradients have their defaults: a hidden layer of 128, posterior means afterwards.
Four ways to split, of kuairec-sample and, if it is given, of MovieLens 100K. Prints each RMSE on validation,
how far the two are apart, and how long each took. The test parts are not looked at.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from twotower import TwoTower
from twotower.data.datasets import load
from twotower.data.movielens import read_movielens
from twotower.data.splitting import Parts, split_three

METHODS = {"random": 0.1, "per_user": 0.1, "cold_items": 0.2, "cold_users": 0.1}


def _rmse(parts: Parts, cap: float | None, seed: int, settings: dict[str, Any]) -> tuple[float, float]:
    """Return the RMSE on validation, of capped labels where there is a cap, and seconds."""
    label = {"transform": "cap", "cap": cap} if cap is not None else {}
    start = time.perf_counter()
    estimator = TwoTower(objective="squared", seed=seed, refit=False, **label, **settings)
    model = estimator.fit(parts.train, parts.validation)
    took = time.perf_counter() - start
    y = parts.validation.interactions[parts.train.schema.label].to_numpy().astype(float)
    predicted = model.predict(parts.validation)
    if cap is not None:
        y, predicted = np.minimum(y, cap), np.minimum(predicted, cap)
    return float(np.sqrt(np.mean((y - predicted) ** 2))), took


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K, raw files or Parquet tables")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42, 7])
    given = arguments.parse_args()
    sets = [("kuairec-sample", load("kuairec-sample"), 5.0)]
    if given.movielens:
        sets.append(("movielens-100k", read_movielens(given.movielens), None))
    gaps = []
    for name, data, cap in sets:
        for method, share in METHODS.items():
            for seed in given.seeds:
                parts = split_three(data, method, share, 0.1, seed)
                solved, quick = _rmse(parts, cap, seed, {})
                learnt, slow = _rmse(parts, cap, seed, {"hidden": (128,)})
                gaps.append(100 * (solved / learnt - 1))
                print(
                    f"{name:15s} {method:10s} {seed:3d}  solved {solved:.4f} ({quick:4.1f} s)  "
                    f"gradients {learnt:.4f} ({slow:4.1f} s)  {gaps[-1]:+.2f}%",
                    flush=True,
                )
    print(
        f"solved against gradients: mean {np.mean(gaps):+.2f}%, from {min(gaps):+.2f}% to {max(gaps):+.2f}%"
    )


if __name__ == "__main__":
    main()
