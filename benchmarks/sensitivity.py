"""Sensitivity of `all_pairs` to its settings: each changed separately, on the validation set.

    python benchmarks/sensitivity.py [--movielens DIR] [--seeds 1 2]

NDCG@100 over the whole catalogue on the validation set (the test set is never used), averaged over splits,
for the default and for each changed setting. Data: kuairec-sample and, if given, MovieLens 100K, each with
graded interactions and with positives only, and synthetic positives of 34,500 users and 13,500 items. The
last columns are the mean and the worst change over the data sets, in percent of the default.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

import twotower as tt
from all_pairs import positives
from twotower.config import load_config
from twotower.data.dataset import Dataset, TrainPart
from twotower.workflows import load_parts

CHANGES: dict[str, list[Any]] = {
    "unobserved_weight": [0.05, 0.1, 0.4, 0.8],
    "regularisation": [0.18, 0.25, 0.5, 0.7],
    "min_grade": [0.0, 0.2, 0.6, 0.8],
    "dim": [32, 128],
}


@functools.cache
def part(name: str, folder: str | None, seed: int) -> tuple[TrainPart, Dataset, float | None]:
    """Return training set, validation set and the threshold of positives."""
    if name == "synthetic":
        train, validation = tt.split(positives(34_500, 13_500, 2_500_000), "random", test=0.1, seed=seed)
        return train, validation, None
    where = [f"data.dir={folder}"] if name.startswith("movielens") else []
    config = load_config(f"{name}-ranking", [*where, f"seed={seed}"])
    parts = load_parts(config)
    return parts.train, parts.validation, config.positive.threshold


def worth(name: str, folder: str | None, seeds: list[int], settings: dict[str, Any]) -> tuple[float, float]:
    """Return the means over seeds of the best epoch's NDCG@100 and of its number."""
    found = []
    for seed in seeds[:1] if name == "synthetic" else seeds:
        train, validation, threshold = part(name, folder, seed)
        rule: dict[str, Any] = {} if threshold is None else {"positive": threshold}
        model = tt.TwoTower(objective="all_pairs", refit=False, seed=seed, **rule, **settings)
        history = model.fit(train, validation).history
        each = [record["validation_ndcg@100"] for record in history]
        found.append((max(each), 1 + int(np.argmax(each))))
    mean, epoch = np.mean(found, axis=0)
    return float(mean), float(epoch)


def changes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and the settings of each change, the default first."""
    yield "default", {}
    for key, values in CHANGES.items():
        for value in values:
            yield f"{key} {value:g}", {key: value}


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    given = arguments.parse_args()
    names = ["kuairec-sample"] + (["movielens-100k"] if given.movielens else [])
    cases = [(name, how) for name in names for how in ("graded", "positives")] + [("synthetic", "positives")]
    print(f"{'':22s}" + "".join(f"{f'{name[:9]} {how}':>21s}" for name, how in cases) + "     mean    worst")
    default: dict[tuple[str, str], float] = {}
    for label, settings in changes():
        line, gaps = f"{label:22s}", []
        for name, how in cases:
            if "min_grade" in settings and how == "positives":
                line += f"{'':21s}"
                continue
            alone = {"min_grade": None} if how == "positives" and name != "synthetic" else {}
            value, epoch = worth(name, given.movielens, given.seeds, {**alone, **settings})
            default.setdefault((name, how), value)
            gaps.append(100.0 * (value / default[name, how] - 1.0))
            line += f"{value:12.4f} {gaps[-1]:+5.1f}%@{epoch:<2.0f}"
        print(line + f"   {np.mean(gaps):+5.1f}%   {min(gaps):+5.1f}%", flush=True)


if __name__ == "__main__":
    main()
