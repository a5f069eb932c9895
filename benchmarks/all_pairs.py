"""Time of an `all_pairs` epoch at the size of MovieLens 20M, and time to its best NDCG, against iALS.

    python benchmarks/all_pairs.py [--users 138000 --items 27000 --pairs 10000000] [--epochs 20]

Synthetic positives: users and items belong to groups, and an item is drawn by popularity from the user's
group or from all items. No features, dim 64, regularisation 0.33, else default settings. A tenth of the
positives is held out; NDCG@100 over the whole catalogue is computed for the same 2,000 users for both models,
and is not included in the times."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
import polars as pl

import twotower as tt
from twotower.baselines import IALS
from twotower.baselines._implicit import als_vectors
from twotower.baselines.feedback import Feedback
from twotower.baselines.ials import noise
from twotower.data.dataset import Dataset
from twotower.evaluation import RankingTask
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.kernels.least_squares import STEPS
from twotower.retrieval import exact_top_k
from twotower.training import Callback, Record

GROUPS, OWN = 60, 0.7


def positives(n_users: int, n_items: int, n: int, seed: int = 0) -> Dataset:
    """Draw about ``n`` distinct positives."""
    rng = np.random.default_rng(seed)
    popularity = rng.permutation(1.0 / np.arange(10, n_items + 10) ** 0.9)
    of_item = rng.integers(0, GROUPS, n_items)
    order = np.argsort(of_item, kind="stable")
    edges = np.append(0, np.cumsum(popularity[order]))
    starts = edges[np.append(0, np.cumsum(np.bincount(of_item, minlength=GROUPS)))]
    activity = rng.lognormal(0.0, 1.0, n_users)
    user = np.sort(rng.choice(n_users, int(n * 1.25), p=activity / activity.sum()).astype(np.int32))
    tastes = rng.integers(0, GROUPS, (n_users, 3))
    group = tastes[user, rng.integers(0, 3, len(user))]
    own = rng.random(len(user)) < OWN
    low, high = np.where(own, starts[group], 0.0), np.where(own, starts[group + 1], edges[-1])
    at = np.searchsorted(edges, low + rng.random(len(user)) * (high - low), side="right") - 1
    item = order[np.minimum(at, n_items - 1)].astype(np.int32)
    events = pl.DataFrame({"user_id": user, "item_id": item}).unique(maintain_order=True)
    if events.height > n:
        events = events.sample(n, seed=seed)
    return Dataset.of(events.sort("user_id", "item_id"), schema={})


class Clock(Callback):
    """Stores and prints the records of epochs."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.at: list[float] = []

    def on_epoch_end(self, record: Record) -> None:
        self.records.append(record)
        self.at.append(time.perf_counter())
        print(
            f"  epoch {record['epoch']:2d}: {record['seconds']:.2f} s, "
            f"NDCG@100 {record.get('validation_ndcg@100', float('nan')):.4f}",
            flush=True,
        )


class Vectors(Ranker):
    """Ranks by vectors."""

    name = "iALS"

    def __init__(self, users: Any, items: Any, known: Feedback) -> None:
        self.users, self.items, self.known = users, items, known

    def rank(self, queries: RankRequest, k: int) -> Any:
        """Rank items with training rows; others come last."""
        nothing = np.full((1, self.items.shape[1]), np.nan, np.float32)  # row -1 is an unknown item
        items = np.append(self.items, nothing, axis=0)[self.known.items.rows(queries.items)]
        users = self.users[self.known.users.rows(queries.users)]
        return exact_top_k(users, items, k, seen=queries.barred).items


def limit(pairs: int, rows: int, seconds: float) -> None:
    """Print the operations and memory reads of an epoch, compared with the machine's peak."""
    width, passes = 62, 1 + STEPS  # the residual and the conjugate gradients
    gflop = (2 * pairs * passes * 4 * width + rows * passes * 2 * width * width) / 1e9
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    best = min(_seconds(a) for _ in range(5))
    peak = 2 * 2048**3 / 1e9 / best
    print(
        f"an epoch is {gflop:.0f} GFLOP and reads {2 * pairs * 4 * width / 1e9:.1f} GB of vectors: "
        f"{gflop / seconds:.0f} GFLOP/s; a matrix product reaches {peak:.0f}"
    )


def _seconds(a: np.ndarray) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--users", type=int, default=138_000)
    arguments.add_argument("--items", type=int, default=27_000)
    arguments.add_argument("--pairs", type=int, default=10_000_000)
    arguments.add_argument("--epochs", type=int, default=20)
    given = arguments.parse_args()
    data = positives(given.users, given.items, given.pairs)
    train, validation = tt.split(data, "random", test=0.1, seed=1)
    print(f"{os.cpu_count()} cores; train {len(train):,} positives, held out {len(validation):,}", flush=True)

    clock, start = Clock(), time.perf_counter()
    tt.TwoTower(objective="all_pairs", dim=64, regularisation=0.33, epochs=given.epochs, refit=False).fit(
        train, validation, callbacks=[clock]
    )
    whole = time.perf_counter() - start
    seconds = np.array([record["seconds"] for record in clock.records])
    found = np.array([record["validation_ndcg@100"] for record in clock.records])
    best = int(found.argmax())
    print(
        f"two-tower: an epoch {np.median(seconds):.2f} s (median); best NDCG@100 {found[best]:.4f} after "
        f"{seconds[: best + 1].sum():.1f} s of training; in total, with encoding and validation, {whole:.1f} "
        "s"
    )

    judging = np.diff(clock.at) - seconds[1:]
    print(f"validation and saving the best weights: {np.median(judging):.2f} s per epoch (median)")
    limit(len(train), given.users + given.items, float(np.median(seconds)))

    known = Feedback.of(train)
    users = validation.interactions["user_id"].unique().sort()
    chosen = users.sample(min(2_000, len(users)), seed=1)
    held = validation.interactions.filter(pl.col("user_id").is_in(chosen.implode()))
    task = RankingTask.prepare(validation.with_interactions(held), train, ks=(20, 100))
    alpha = IALS().alpha
    best_found, taken = 0.0, 0.0
    for iterations in (1, 2, 4, 8, 15):
        start = time.perf_counter()
        vectors = als_vectors(
            known.matrix,
            factors=64,
            regularization=0.45 * noise(known, alpha),
            alpha=alpha,
            iterations=iterations,
            seed=0,
        )
        elapsed = time.perf_counter() - start
        worth = task.measure(Vectors(*vectors, known))["ndcg@100"]
        print(f"  iALS, {iterations:2d} iterations: {elapsed:.1f} s, NDCG@100 {worth:.4f}", flush=True)
        if worth > best_found:
            best_found, taken = worth, elapsed
    reached = np.flatnonzero(found >= best_found)
    print(
        f"iALS (implicit, dim 64): best NDCG@100 {best_found:.4f} after {taken:.1f} s; ours reaches it after "
        + (f"{seconds[: reached[0] + 1].sum():.1f} s" if len(reached) else "no epoch")
    )


if __name__ == "__main__":
    main()
