"""Time and memory of a full ranking evaluation at the size of MovieLens 20M.

    python benchmarks/ranking_speed.py [--users 138493] [--items 26744] [--positives 10000000] [--dim 64]

Synthetic: each user's positives are drawn by item popularity, and four fifths are in the training set. The
model has random vectors, with popularity as item bias; every item that a user has not seen is scored. All
metrics at 10, 20 and 100, by slice, with intervals. The peak memory is that of the whole process, including
data.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.evaluation import RankingTask, evaluate_ranking
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.retrieval import exact_top_k


class Vectors(Ranker):
    """Ranks by vectors; ids are row numbers."""

    name = "vectors"

    def __init__(self, users: NDArray[np.float32], items: NDArray[np.float32]) -> None:
        self.users, self.items = users, items

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank by the dot product."""
        users, items = self.users[queries.users.to_numpy()], self.items[queries.items.to_numpy()]
        return exact_top_k(users, items, k, seen=queries.barred).items


def interactions(users: int, items: int, rows: int, seed: int) -> tuple[pl.DataFrame, NDArray[np.floating]]:
    """Return about ``rows`` distinct pairs, and each item's probability."""
    rng = np.random.default_rng(seed)
    chance = 1.0 / (10.0 + np.arange(items)) ** 0.9
    chance /= chance.sum()
    activity = rng.lognormal(0.0, 1.0, users)
    user = rng.choice(users, int(1.25 * rows), p=activity / activity.sum())
    item = np.searchsorted(np.cumsum(chance), rng.random(len(user)))
    keys = np.unique(user.astype(np.int64) * items + np.minimum(item, items - 1))
    keys = rng.permutation(keys)[:rows]
    frame = pl.DataFrame({"user_id": keys // items, "item_id": keys % items})
    return frame.cast({"user_id": pl.Int32, "item_id": pl.Int32}), chance


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--users", type=int, default=138_493)
    arguments.add_argument("--items", type=int, default=26_744)
    arguments.add_argument("--positives", type=int, default=10_000_000)
    arguments.add_argument("--dim", type=int, default=64)
    given = arguments.parse_args()
    rng = np.random.default_rng(1)
    frame, chance = interactions(given.users, given.items, given.positives, 0)
    at = int(0.8 * frame.height)
    train = Dataset.of(frame[:at], schema=Schema()).as_train()
    test = Dataset.of(frame[at:], schema=Schema())
    U = rng.standard_normal((given.users, given.dim), dtype=np.float32) / np.sqrt(given.dim)
    V = rng.standard_normal((given.items, given.dim), dtype=np.float32)
    U[:, -1], V[:, -1] = 1.0, np.log(chance)
    ranker = Vectors(U, V)
    print(f"{given.users:,} users, {given.items:,} items, training {len(train):,}, test {len(test):,}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    small = test.with_interactions(test.interactions.head(1000))
    evaluate_ranking(ranker, small, train, resamples=10)  # compiles

    start = time.perf_counter()
    task = RankingTask.prepare(test, train)
    prepared = time.perf_counter() - start
    start = time.perf_counter()
    task.measure(ranker)
    measured = time.perf_counter() - start
    start = time.perf_counter()
    found = evaluate_ranking(ranker, test, train)
    whole = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"preparation {prepared:.1f} s, ranking and metrics {measured:.1f} s, without slices and intervals")
    print(f"whole evaluation: {whole:.1f} s; peak {peak:.2f} GiB, {before:.2f} before it")
    print({name: round(found.metrics[name].value, 4) for name in ("ndcg@10", "recall@20", "coverage@100")})


if __name__ == "__main__":
    main()
