"""Cost of a step as the catalogue grows: similar batches over 20,000, 200,000 and 2 million items.

    python benchmarks/vocabulary.py

Ids only, 65,536 pairs per step. A step reads and updates only the rows of its own users and items, so its
cost may grow with the cache misses of a larger table but not with its number of rows.
"""

from __future__ import annotations

import resource
import time

import numpy as np
import torch

from twotower.features import EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Squared
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.mlp import MLPConfig
from twotower.training import Gradients, GradientsConfig, TrainingTask

PAIRS, USERS, BATCH = 2_000_000, 100_000, 65_536


def _side(rows: int) -> SideArrays:
    return SideArrays.pack(EncodedSide(np.arange(1, rows + 1, dtype=np.int32), {}), torch.device("cpu"))


def main() -> None:
    """Run the benchmark and print the results."""
    draw = np.random.default_rng(0)
    user = np.sort(draw.integers(0, USERS, PAIRS)).astype(np.int32)
    target = draw.standard_normal(PAIRS).astype(np.float32)
    for n_items in (20_000, 200_000, 2_000_000):
        item = draw.integers(0, n_items, PAIRS).astype(np.int32)
        pairs = Pairs.from_arrays(user, item, target, None, n_users=USERS)
        users, items = _side(USERS), _side(n_items)
        model = TwoTowerModel(users.shape, items.shape, USERS, n_items, MLPConfig(), 0)
        task = TrainingTask(model, users, items, pairs, Squared(), Squared.Config(), 0.07, seed=0)
        trainer = Gradients(task, GradientsConfig(batch_size=BATCH))
        seconds, rows = [], 0
        for place, batch in enumerate(trainer.batcher.epoch(1)):
            start = time.perf_counter()
            trainer.step(batch, 0.005)
            seconds.append(time.perf_counter() - start)
            rows = items.rows if batch.items is None else len(batch.items)
            if place == 15:
                break
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        middle = sorted(seconds[1:])[len(seconds) // 2]
        print(
            f"{n_items:>9,} items: {1e3 * middle:.0f} ms per step, {rows:,} item rows read; peak {peak:.1f} "
            "GiB"
        )


if __name__ == "__main__":
    main()
