"""Speed of the `softmax` objective against the usual hand-written loop, at the size of MovieLens 20M.

    python benchmarks/softmax.py [--users 138000 --items 27000 --pairs 10000000] [--steps 3] [--threads 2]

Ids only, dim 64, 65,536 pairs, two threads, synthetic positives. Ours is a step of the training loop,
including its batch: each user's logits are computed once for all of the user's positives, against the items
of the batch and 4,096 drawn uniformly, with logQ correction and all of the user's training items masked. A
batch with more pairs than items contains every item: here it is the full softmax.

The usual loop has two embedding tables and an in-batch softmax with logQ correction and no masking. At batch
65,536 its logits alone would take 17 GB, so it runs 8 steps of 8,192 for the same pairs, each positive
against 8,191 others, while ours uses all items. Pairs per second therefore compare different work, so logits
per second are given too. It runs with dense Adam and with sparse gradients; the faster one counts. Other load
on the machine increases the seconds, but the CPU seconds much less on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
import torch.nn.functional as F

import twotower as tt
from all_pairs import positives
from twotower.estimator.setup import prepare
from twotower.kernels.pairs import Pairs
from twotower.targets.positive import PositiveRule
from twotower.training import Gradients

DIM, BATCH, SMALL, RATE = 64, 65_536, 8_192, 0.005


class Speed(NamedTuple):
    """The cost of 65,536 pairs."""

    seconds: float
    cpu: float
    logits: float
    gflop: float

    def line(self, name: str) -> str:
        """Return a line of results."""
        return (
            f"{name}: {self.seconds:.2f} s ({self.cpu:.2f} s of CPU), {BATCH / self.seconds:,.0f} pairs/s, "
            f"{self.logits / self.seconds / 1e6:,.0f} M logits/s, {self.gflop / self.seconds:.0f} GFLOP/s "
            f"({self.gflop / self.cpu:.0f} per CPU second)"
        )


def _timed(step: Callable[[], float], steps: int) -> tuple[float, float, float]:
    """Return median seconds, median CPU seconds and the logits of a step, without the first step."""
    took = []
    for _ in range(steps + 1):
        start, cpu = time.perf_counter(), time.process_time()
        logits = step()
        took.append((time.perf_counter() - start, time.process_time() - cpu, logits))
    seconds, used, counted = zip(*took[1:], strict=True)
    return statistics.median(seconds), statistics.median(used), statistics.median(counted)


def _ours(train: tt.TrainPart, steps: int) -> tuple[Speed, Pairs]:
    """Benchmark a step of our loop; also return the pairs."""
    estimator = tt.TwoTower(kind="mlp", objective="softmax", dim=DIM, batch_size=BATCH, seed=0)
    rule = PositiveRule.fit(train, estimator.positive)
    made = prepare(estimator.settings, train, rule, torch.device("cpu"))
    trainer, pairs, catalogue = made.trainer, made.task.pairs, made.task.items.rows
    assert isinstance(trainer, Gradients)
    batches = trainer.batcher.epoch(1)

    def step() -> float:
        batch = next(batches)
        trainer.step(batch, RATE)
        n_users = pairs.n_users if batch.queries is None else len(batch.queries)
        n_items = catalogue if batch.items is None else len(batch.items)
        return float(n_users * n_items)

    seconds, cpu, logits = _timed(step, steps)
    return Speed(seconds, cpu, logits, 6e-9 * logits * DIM), pairs


def _usual(pairs: Pairs, steps: int, *, sparse: bool) -> Speed:
    """Benchmark the usual loop on as many pairs as a step of ours."""
    torch.manual_seed(0)
    user, item = torch.from_numpy(pairs.user).long(), torch.from_numpy(pairs.item).long()
    counts = np.bincount(pairs.item)  # every item has some
    log_q = torch.from_numpy(np.log(counts / len(pairs))).float()
    users, items = (torch.nn.Embedding(n, DIM, sparse=sparse) for n in (pairs.n_users, len(counts)))
    for table in (users, items):
        torch.nn.init.normal_(table.weight, std=0.1)
    both = [users.weight, items.weight]
    adam: Any = torch.optim.SparseAdam(both, lr=RATE) if sparse else torch.optim.Adam(both, lr=RATE)
    own = torch.arange(SMALL)

    def step() -> float:
        for batch in torch.randint(len(pairs), (BATCH // SMALL, SMALL)):
            of = item[batch]
            loss = F.cross_entropy(users(user[batch]) @ items(of).T - log_q[of], own)
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
        return float(BATCH * SMALL)

    seconds, cpu, logits = _timed(step, steps)
    return Speed(seconds, cpu, logits, 6e-9 * logits * DIM)


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--users", type=int, default=138_000)
    arguments.add_argument("--items", type=int, default=27_000)
    arguments.add_argument("--pairs", type=int, default=10_000_000)
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    numba.set_num_threads(min(given.threads, numba.get_num_threads()))
    train = positives(given.users, given.items, given.pairs).as_train()
    print(f"{os.cpu_count()} cores, {given.threads} threads; {len(train):,} positives; per {BATCH:,} pairs:")

    ours, pairs = _ours(train, given.steps)
    print("  " + ours.line("ours"), flush=True)
    theirs = {}
    for name, sparse in (("dense Adam", False), ("sparse gradients", True)):
        theirs[name] = _usual(pairs, given.steps, sparse=sparse)
        print("  " + theirs[name].line(f"usual loop, {name}"), flush=True)
    quicker = min(theirs.values(), key=lambda speed: speed.cpu if given.threads == 1 else speed.seconds)
    pairs_ratio = np.array([quicker.seconds / ours.seconds, quicker.cpu / ours.cpu])
    logits_ratio = pairs_ratio * ours.logits / quicker.logits
    print(
        f"  ours / usual loop: pairs per second {pairs_ratio[0]:.2f} (per CPU second {pairs_ratio[1]:.2f}), "
        f"logits per second {logits_ratio[0]:.2f} ({logits_ratio[1]:.2f})"
    )
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(5):
        a @ b
    gflop, took, used = 5 * 2 * 2048**3 / 1e9, time.perf_counter() - start, time.process_time() - cpu
    print(f"  the machine's matrix product: {gflop / took:.0f} GFLOP/s, {gflop / used:.0f} per CPU second")


if __name__ == "__main__":
    main()
