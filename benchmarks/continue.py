"""Continuing a model on 5% new events, beside training it from the beginning: CPU seconds and NDCG@100.

    python benchmarks/continue.py --data DIR [--sets kuairec-sample ml-100k synthetic ...]

``DIR`` has a folder a data set with ``interactions.parquet`` (and ``items.parquet``), as for
`benchmarks/ranking.py`; ``kuairec-sample`` is packaged. A test set of a tenth of the rows and a validation
set of a tenth are drawn at random. The new events are the last 5% of the other rows by time, or 5% of them at
random without times.

- ``before``: trained without the new events, as in production before they came.
- ``whole``: trained from the beginning with them, with all searches.
- ``continued``: from ``before``.

CPU seconds are those of the fit in this process (all threads); reading and measuring are left out.
``synthetic`` are ten million interactions of `benchmarks/scale.py` (``--rows``), by linear towers with every
other setting at its default; with so many there is no search. Sets that end in ``-two-stages`` have a second
stage, whose trees are kept, and are measured by NDCG@10 too; ``ml-100k-two-stages`` is split in the order of
time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))

from scale import World, sets
from twotower import TwoTower
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts, split_three
from twotower.datasets.loading import load_sample
from twotower.estimator.continuing import Chosen, continued
from twotower.recommender import Recommender
from twotower.workflows.chosen import chosen_of

NEW = 0.05


def movielens(folder: Path) -> Dataset:
    """Return MovieLens 100K with the features of its films."""
    schema: dict[str, Any] = {
        "label": "rating",
        "timestamp": "timestamp",
        "items": {"release_year": "number", "genres": "categories"},
    }
    tables = [pl.read_parquet(folder / "ml-100k" / f"{name}.parquet") for name in ("interactions", "items")]
    return Dataset.of(tables[0], None, tables[1], schema=schema)


def cut(data: Dataset, seed: int) -> Parts:
    """Return the sets of a data set."""
    return split_three(data, "random", 0.1, 0.1, seed)


def synthetic(folder: Path, rows: int) -> Parts:
    """Return the sets of a generated data set, in memory."""
    world = World(rows, max(rows // 100, 1_000), max(rows // 500, 1_000))
    parts = sets(world, folder, "memory", 1e6)
    return Parts(parts.train, parts.validation, parts.test)


def without_new(parts: Parts, seed: int) -> Parts:
    """Return the sets as they were before the last 5% of the training rows came."""
    rows = parts.train.interactions
    n = round(NEW * rows.height)
    time_of = parts.train.schema.timestamp
    if time_of is None:
        kept = np.sort(np.random.default_rng(seed).permutation(rows.height)[n:])
        rows = rows[kept]
    else:
        rows = rows.with_row_index("_row").sort(time_of).head(rows.height - n).sort("_row").drop("_row")
    return Parts(parts.train.with_interactions(rows).as_train(), parts.validation, parts.test)


def timed(work: Callable[[], Recommender]) -> tuple[Recommender, float]:
    """Return a model and the CPU seconds of its fit."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def measure(name: str, parts: Parts, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return CPU seconds and NDCG of the three."""
    staged = name.endswith("-two-stages")
    estimator, before = TwoTower(seed=seed, **settings), without_new(parts, seed)

    def fitted(given: Parts, folder: Path) -> Recommender:
        ranker: dict[str, Any] | None = {} if staged else None
        return estimator.fit(given.train, given.validation, checkpoints=folder, progress=False, ranker=ranker)

    with tempfile.TemporaryDirectory() as scratch:
        old, _ = timed(lambda: fitted(before, Path(scratch) / "before"))
        state = chosen_of(Path(scratch) / "before", old)
        whole, whole_seconds = timed(lambda: fitted(parts, Path(scratch) / "whole"))
    chosen = {kind: Chosen.of(of) for kind, of in state.items()}
    everything = parts.train.joined(parts.validation)
    more, more_seconds = timed(lambda: continued(estimator.settings, old, everything, chosen))
    models = {"before": old, "whole": whole, "continued": more}
    if staged:
        models["continued, towers alone"] = replace(more, ranker=None)
    found = {which: model.evaluate(parts.test).metrics for which, model in models.items()}
    value = {which: of["ndcg@100"].value for which, of in found.items()}
    return {
        "set": name,
        "kind": old.kind_said,
        "cpu_seconds": {"whole": round(whole_seconds, 2), "continued": round(more_seconds, 2)},
        "share": round(more_seconds / whole_seconds, 3),
        "ndcg@100": {which: round(of, 4) for which, of in value.items()},
        "gap": round(value["continued"] / value["whole"] - 1, 4),
        **({"ndcg@10": {which: str(of["ndcg@10"]) for which, of in found.items()}} if staged else {}),
    }


def main() -> None:
    """Print a line a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    names = [
        "kuairec-sample",
        "ml-100k",
        "ml-100k-linear",
        "ml-100k-sequence",
        "ml-100k-softmax",
        "kuairec-sample-two-stages",
        "ml-100k-two-stages",
        "synthetic",
    ]
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        liked = {"positive": 4.0}
        works: dict[str, tuple[Callable[[], Parts], dict[str, Any]]] = {
            "kuairec-sample": (lambda: cut(load_sample(), given.seed), {"positive": 1.5}),
            "ml-100k": (lambda: cut(movielens(given.data), given.seed), liked),
            "ml-100k-linear": (lambda: cut(movielens(given.data), given.seed), liked | {"kind": "linear"}),
            "ml-100k-sequence": (
                lambda: cut(movielens(given.data), given.seed),
                liked | {"kind": "sequence"},
            ),
            "ml-100k-softmax": (
                lambda: cut(movielens(given.data), given.seed),
                liked | {"kind": "mlp", "objective": "softmax"},
            ),
            "kuairec-sample-two-stages": (
                lambda: cut(load_sample(), given.seed),
                {"positive": 1.5, "kind": "item_item"},
            ),
            "ml-100k-two-stages": (
                lambda: split_three(movielens(given.data), "temporal", 0.1, 0.1, given.seed),
                liked | {"kind": "linear"},
            ),
            "synthetic": (lambda: synthetic(Path(folder), int(given.rows)), {"kind": "linear"}),
        }
        for name in given.sets:
            make, settings = works[name]
            print(json.dumps(measure(name, make(), settings, given.seed)), flush=True)


if __name__ == "__main__":
    main()
