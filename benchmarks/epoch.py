"""Time of an epoch at the full size of KuaiRec: ours against the notebook's row-by-row network, in one run.

Reads the raw files of KuaiRec, real or made by ``twotower synth kuairec DIR``, trains our model for a few
epochs with all features and default sizes, once in closed form (the default) and once by gradients with
hidden layers; times the pair loop alone; and times the notebook's network on a slice of its rows,
extrapolated to an epoch. With ``--to-best`` the network is then trained to its best validation loss (a
quarter of an hour), and the time is compared with the time ours takes to reach the same loss, both measured
from the call of ``fit``.

    python benchmarks/epoch.py [DIR] [--steps 4000] [--epochs 9] [--to-best]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twotower import TwoTower
from twotower.baselines.notebook.inputs import NotebookInputs
from twotower.baselines.notebook.network import (
    BATCH,
    PATIENCE,
    NotebookNetwork,
    build_network,
    build_optimiser,
    train_steps,
)
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import carve_validation
from twotower.datasets.kuairec import read_kuairec
from twotower.datasets.synthetic import write_kuairec
from twotower.kernels.pairs import Pairs
from twotower.objectives import Squared, Workspace
from twotower.training import Callback, Record


class _Times(Callback):
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.since_start: list[float] = []
        self.began = time.perf_counter()

    def on_epoch_end(self, record: Record) -> None:
        self.records.append(record)
        self.since_start.append(time.perf_counter() - self.began)


def _to_best(train: TrainPart, validation: Dataset, cap: float, times: _Times) -> None:
    """Train the network to its best validation loss, and print when each model reached it."""
    network = NotebookNetwork()
    start = time.perf_counter()
    network.fit(train, validation, cap=cap)
    took, best = time.perf_counter() - start, len(network.rates)
    trained = min(network.epochs, best + PATIENCE)
    held = np.minimum(validation.interactions["watch_ratio"].to_numpy(), cap)
    reached = float(np.sqrt(np.mean((network.predict(validation) - held) ** 2)))
    print(
        f"network: best validation RMSE {reached:.4f}, in epoch {best} of {trained}, "
        f"about {took * best / trained:.0f} s after its start"
    )
    ours = zip(times.since_start, times.records, strict=True)
    at = next(((s, r) for s, r in ours if r["validation_rmse"] <= reached), None)
    print(
        "ours did not reach it"
        if at is None
        else f"ours: {at[1]['validation_rmse']:.4f} in epoch {at[1]['epoch']}, {at[0]:.1f} s after its start "
        "(reading its arrays and compiling included)"
    )


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("directory", nargs="?", type=Path)
    arguments.add_argument("--steps", type=int, default=4000, help="network steps to time")
    arguments.add_argument("--epochs", type=int, default=9)
    arguments.add_argument("--to-best", action="store_true", help="also train the network to its best loss")
    given = arguments.parse_args()
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        directory = given.directory or Path(scratch) / "kuairec"
        if given.directory is None:
            write_kuairec(directory, scale=1.0, seed=0)
        data = read_kuairec(directory, "big").as_train()
    train, validation = carve_validation(data, "random", 0.05, 0)
    cap = 5.0
    print(f"training pairs {len(train):,}, validation {len(validation):,}")

    kinds: dict[str, dict[str, Any]] = {
        "ours, closed form": {},
        "ours, by gradients": {"kind": "mlp", "hidden": (128,)},
    }
    times, epoch = {}, {}
    for kind, settings in kinds.items():
        times[kind] = _Times()
        settings |= {"objective": "squared", "transform": "cap", "cap": cap}
        estimator = TwoTower(epochs=given.epochs, refit=False, **settings)
        recommender = estimator.fit(train, validation, callbacks=[times[kind]])
        records = [record for record in times[kind].records if record["phase"] == "train"]
        took = sorted(record["seconds"] for record in records[1:])  # the first epoch compiles
        epoch[kind] = took[len(took) // 2], took[0]
        print(f"{kind}: epochs of " + ", ".join(f"{record['seconds']:.2f}" for record in records) + " s")

    label = np.minimum(train.interactions["watch_ratio"].to_numpy(), cap)
    mean, sd = float(label.mean()), float(label.std())
    inputs = NotebookInputs.fit(train)
    rows = inputs.transform(train)
    network = build_network(rows.width)
    optimiser = build_optimiser(network)
    target = torch.from_numpy(((label - mean) / sd).astype(np.float32))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    batches = torch.split(order[: given.steps * BATCH], BATCH)
    train_steps(network, optimiser, rows, target, weight=torch.ones(len(rows)), batches=batches[:50])
    start = time.perf_counter()
    train_steps(network, optimiser, rows, target, weight=torch.ones(len(rows)), batches=batches)
    step = (time.perf_counter() - start) / len(batches)
    theirs = step * len(rows) / BATCH
    print(f"network, row by row at batch {BATCH}: {1e3 * step:.2f} ms per step, {theirs:.0f} s per epoch")
    for kind, (median, best) in epoch.items():
        print(
            f"{kind}: an epoch of {median:.2f} s (median), {best:.2f} s (best), {theirs / median:.0f} times "
            "faster"
        )

    user = recommender.users.rows(train.interactions["user_id"])
    item = recommender.items.rows(train.interactions["video_id"])
    pairs = Pairs.from_arrays(user, item, label.astype(np.float32), n_users=len(recommender.user_ids))
    U, V = (torch.from_numpy(side.vectors) for side in (recommender.users, recommender.items))
    loop, workspace, loops = Squared(), Workspace(), []
    for _ in range(6):
        start = time.perf_counter()
        loop(U, V, pairs, workspace=workspace)
        loops.append(time.perf_counter() - start)
    gflop = len(pairs) * U.shape[1] * 6 / 1e9
    print(
        f"pair loop alone: best {min(loops):.2f} s for {len(pairs):,} pairs, {gflop / min(loops):.0f} GFLOP/s"
    )
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    print(
        f"the machine's matrix product: {5 * 2 * 2048**3 / 1e9 / (time.perf_counter() - start):.0f} GFLOP/s"
    )

    for kind, of in times.items():
        for seconds, record in zip(of.since_start, of.records, strict=False):
            print(f"{kind}, {seconds:.1f} s after its start: validation RMSE {record['validation_rmse']:.4f}")
    if given.to_best:
        _to_best(train, validation, cap, times["ours, closed form"])


if __name__ == "__main__":
    main()
