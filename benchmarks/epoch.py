"""An epoch at KuaiRec's full shape: ours against the notebook's network row by row, in one run.

Reads the raw files of KuaiRec, real or made by ``twotower synth kuairec DIR``, trains our model for a few
epochs with all features and default sizes, times the pair loop alone, and times the notebook's network over a
slice of its rows (its epoch is that many steps times the steps of an epoch). Beside it stands what the
network's validation loss was by then, and ours after each epoch.

    python benchmarks/epoch.py [DIR] [--steps 4000] [--epochs 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from twotower import TwoTower
from twotower.baselines.notebook import BATCH, build_network, build_optimiser, train_steps
from twotower.baselines.notebook_inputs import NotebookInputs
from twotower.data.kuairec import read_kuairec
from twotower.data.splitting import carve_validation
from twotower.data.synthetic import write_kuairec
from twotower.objectives import Pairs, Squared, Workspace
from twotower.training import Record, Silent


class _Times(Silent):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def epoch(self, record: Record) -> None:
        self.records.append(record)


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("directory", nargs="?", type=Path)
    arguments.add_argument("--steps", type=int, default=4000, help="steps of the network that are timed")
    arguments.add_argument("--epochs", type=int, default=5)
    given = arguments.parse_args()
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        directory = given.directory or Path(scratch) / "kuairec"
        if given.directory is None:
            write_kuairec(directory, scale=1.0, seed=0)
        data = read_kuairec(directory, "big").as_train()
    train, validation = carve_validation(data, "random", 0.05, 0)
    cap = 5.0
    print(f"train pairs {len(train):,}, validation {len(validation):,}")

    times = _Times()
    estimator = TwoTower(epochs=given.epochs, refit=False, transform="cap", cap=cap)
    recommender = estimator.fit(train, validation, listener=times)
    ours = sorted(r["seconds"] for r in times.records[1:])  # the first epoch compiles
    print("epochs of ours: " + ", ".join(f"{r['seconds']:.2f}" for r in times.records) + " s")

    label = np.minimum(train.interactions["watch_ratio"].to_numpy(), cap)
    mean, sd = float(label.mean()), float(label.std())
    inputs = NotebookInputs.fit(train)
    rows = inputs.transform(train)
    network = build_network(rows.width)
    optimiser = build_optimiser(network)
    target = torch.from_numpy(((label - mean) / sd).astype(np.float32))[:, None]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    batches = order[: given.steps * BATCH].split(BATCH)
    train_steps(network, optimiser, rows, target, weight=torch.ones(len(rows), 1), batches=batches[:50])
    start = time.perf_counter()
    train_steps(network, optimiser, rows, target, weight=torch.ones(len(rows), 1), batches=batches)
    step = (time.perf_counter() - start) / len(batches)
    theirs = step * len(rows) / BATCH
    print(f"network, row by row at batch {BATCH}: {1e3 * step:.2f} ms a step, {theirs:.0f} s an epoch")
    print(f"ours: best {ours[0]:.2f} s, median {ours[len(ours) // 2]:.2f} s an epoch")
    print(
        f"ratio network / ours: {theirs / ours[len(ours) // 2]:.0f} (median), {theirs / ours[0]:.0f} (best)"
    )

    user = recommender.users.rows(train.interactions["user_id"])
    item = recommender.items.rows(train.interactions["video_id"])
    pairs = Pairs.from_arrays(user, item, label.astype(np.float32), n_users=len(recommender.user_ids))
    U, V = (torch.from_numpy(side.vectors) for side in (recommender.users, recommender.items))
    loop, workspace, took = Squared(), Workspace(), []
    for _ in range(6):
        start = time.perf_counter()
        loop(U, V, pairs, workspace=workspace)
        took.append(time.perf_counter() - start)
    gflop = len(pairs) * U.shape[1] * 6 / 1e9
    print(
        f"pair loop alone: best {min(took):.2f} s for {len(pairs):,} pairs, {gflop / min(took):.0f} GFLOP/s"
    )
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    print(
        f"the machine's matrix product: {5 * 2 * 2048**3 / 1e9 / (time.perf_counter() - start):.0f} GFLOP/s"
    )

    held = np.minimum(validation.interactions["watch_ratio"].to_numpy(), cap)
    with torch.no_grad():
        asked = inputs.transform(validation)
        parts = torch.arange(len(asked)).split(65_536)
        scores = [network(asked.batch(part))[:, 0].numpy() * sd + mean for part in parts]
    reached = float(np.sqrt(np.mean((np.concatenate(scores) - held) ** 2)))
    trained = len(batches) * step
    print(f"network after {trained:.0f} s: validation RMSE {reached:.4f}")
    spent = 0.0
    for record in times.records:
        spent += record["seconds"]
        print(f"ours after {spent:.1f} s: validation RMSE {record['validation_rmse']:.4f}")


if __name__ == "__main__":
    main()
