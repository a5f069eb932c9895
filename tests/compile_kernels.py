"""Compile the kernels that many tests need, once, and not in each process of pytest.

`make test` does it beside the checks of style and types, which need one core.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import twotower as tt
from small_tables import write_tables
from twotower.config import load_config
from twotower.errors import TwoTowerWarning
from twotower.server.state import State
from twotower.server.warming import warm_up
from twotower.workflows import compare

RUNS: list[dict[str, Any]] = [
    {"kind": "linear", "objective": "all_pairs"},
    {"kind": "linear", "objective": "squared"},
    {"kind": "linear", "objective": "bpr"},
    {"kind": "mlp", "objective": "all_pairs"},
    {"kind": "mlp", "objective": "softmax"},
    {"kind": "mlp", "objective": "squared"},
    {"kind": "mlp", "objective": "huber"},
    {"kind": "item_item"},
    {"kind": "sequence", "pooling": ["decay"]},
    {"kind": "sequence", "pooling": ["recurrent"]},
]


def main() -> None:
    """Train small towers of each kind, ask them, and compare one with the baselines."""
    warnings.simplefilter("ignore", TwoTowerWarning)  # the tables are small
    schema = {"user": "person", "item": "film", "label": "stars", "timestamp": "at"}
    features = {"users": {"age": "number"}, "items": {"genres": "categories", "title": "text"}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = write_tables(folder)
        tables = [folder / name for name in ("events.csv", "users.csv", "items.parquet")]
        data = tt.read_dataset(tables[0], tables[1], tables[2], schema=schema | features)
        for name in ("squared", "all_pairs"):
            compare(load_config(path, [f"objective.name={name}"]))
    known, test = tt.split(data, "random", test=0.1, seed=0)
    known, validation = tt.split(known, "random", test=0.1, seed=0)
    for settings in RUNS:
        model = tt.TwoTower(dim=8, epochs=1, seed=0, **settings).fit(known, validation, progress=False)
        model.evaluate(test)
        warm_up(State.of(model, "compiling"))


if __name__ == "__main__":
    main()
