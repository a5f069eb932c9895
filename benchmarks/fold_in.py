"""Folding users in against training with them: similarity of the lists, quality and time.

    python benchmarks/fold_in.py [--movielens DIR] [--seed 42]

A fifth of the users is held out with all their rows. A fifth of each held-out user's rows is the test set;
the rest is known. One model is trained without these users and folds each in from the known rows and labels,
without the user's features. The same model, with default settings, is trained again with the known rows
included. Both rank all items that a user has not seen. A third training differs from the second only in its
seed, which shows how much two trainings on the same rows agree. Intervals are for the paired difference over
users. Finally, the time to fold in one user on one thread is measured; other load on the machine increases
its p99, but not that of the CPU time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import twotower as tt
from twotower.baselines import Popularity
from twotower.config import Config, load_config
from twotower.data.splits.split import WHOLE
from twotower.data.splitting import carve_validation
from twotower.datasets.configured import read_raw
from twotower.evaluation import RankingTask, compare_on_task
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.kernels.layout import VectorLayout
from twotower.recommender import Recommender
from twotower.retrieval import exact_top_k
from twotower.towers.fold_in import FoldIn, FoldInSettings

METRICS = ("ndcg@100", "recall@20")
TOP, CALLS = 20, 2_000


class FoldedIn(Ranker):
    """Ranks for users unknown to the model, from their known rows."""

    name = "folded in"

    def __init__(self, model: Recommender, known: pl.DataFrame) -> None:
        schema = model.encoder.schema
        assert schema.label is not None
        lists = known.group_by(schema.user).agg(schema.item, schema.label).sort(schema.user)
        self.model, self.users, self.items = model, lists[schema.user], lists[schema.item].to_list()
        self.vectors = model.encode_queries(
            [
                tt.Query(history=i, labels=y)
                for i, y in zip(self.items, lists[schema.label].to_list(), strict=True)
            ]
        )

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank by the folded-in vectors."""
        user = self.users.search_sorted(queries.users).to_numpy()
        item = self.model.items.known_rows(queries.items, "item")
        return exact_top_k(self.vectors[user], self.model.items.vectors[item], k, seen=queries.barred).items


def _overlap(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the share of each list (n, k) that is also in the other."""
    common = [len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)]
    return np.array([count / one.shape[1] for count in common])


def _trained(config: Config, seed: int, train: tt.TrainPart, validation: tt.Dataset) -> Recommender:
    start = time.perf_counter()
    model = tt.TwoTower.from_config(config.model_copy(update={"seed": seed})).fit(train, validation)
    print(f"  trained on {len(train) + len(validation):,} rows in {time.perf_counter() - start:.1f} s")
    return model


def _against_training(title: str, config: Config) -> Recommender:
    """Print the quality of folded-in users' lists, and return the model."""
    data, seed = read_raw(config)[WHOLE], config.seed
    rest, newcomers = tt.split(data, "cold_users", test=0.2, seed=seed)
    known, held = tt.split(newcomers, "per_user", test=0.2, seed=seed)
    train, validation = carve_validation(rest, "per_user", 0.1, seed)
    whole = rest.joined(known)
    print(
        f"\n{title}, seed {seed}: {len(rest):,} rows of others, {len(known):,} known rows of held-out users"
    )
    without = _trained(config, seed, train, validation)
    with_them = _trained(config, seed, train.joined(known), validation)
    again = _trained(config, seed + 1, train.joined(known), validation)

    folded = FoldedIn(without, known.interactions)
    rankings: dict[str, Ranker] = {
        "folded in": folded,
        "trained again": with_them,
        "with another seed": again,
        "popularity": Popularity().fit(without.positive.select(rest).as_train()),
    }
    task = RankingTask.prepare(without.positive.select(held), whole, ks=(TOP, 100))
    found = compare_on_task(task, rankings.items(), None, against="trained again", seed=seed)
    print(f"  {found.users:,} held-out users, {len(task.items):,} items")
    for name, evaluation in found.models.items():
        line = f"  {name:20s}"
        for metric in METRICS:
            line += f"  {metric} {evaluation.metrics[metric].value:.4f}"
            if name != found.against:
                gap = found.differences[name][metric]
                line += f" ({gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])"
        print(line)

    queries = RankRequest(
        task.users, task.items, task.seen, held.with_interactions(held.interactions.clear())
    )
    lists = {name: ranker.rank(queries, TOP) for name, ranker in rankings.items()}
    for name in ("folded in", "with another seed", "popularity"):
        shares = _overlap(lists[name], lists["trained again"])
        print(
            f"  share of the top {TOP} of {name!r} that is in 'trained again': {shares.mean():.3f} "
            f"(10% of users below {np.quantile(shares, 0.1):.2f})"
        )
    return without


def _times(call: Callable[[NDArray[np.int64]], Any], n_items: int, n: int) -> str:
    """Return median and p99 of a call with ``n`` items, different each time, and p99 of its CPU time."""
    draw, took, used = np.random.default_rng(0), np.empty(CALLS), np.empty(CALLS)
    lists = [draw.choice(n_items, n, replace=False) for _ in range(CALLS + 50)]
    for place, items in enumerate(lists):
        start, cpu = time.perf_counter(), time.thread_time()
        call(items)
        if place >= 50:  # the first calls sum over the catalogue once
            took[place - 50] = time.perf_counter() - start
            used[place - 50] = time.thread_time() - cpu
    middle, late = 1e6 * np.quantile(took, [0.5, 0.99])
    return f"median {middle:4.0f}, p99 {late:4.0f} us (CPU time p99 {1e6 * np.quantile(used, 0.99):4.0f} us)"


def _latency(model: Recommender, sizes: Sequence[int]) -> None:
    """Print the time for one user, by the least-squares solver alone and by the recommender."""
    ids, labelled = model.item_ids.to_list(), model.encoder.schema.label is not None
    dim = model.items.vectors.shape[1]
    print(f"\none user folded in, dim {dim}, one thread, {CALLS:,} calls each")
    settings = FoldInSettings(model.least_squares.cell, model.least_squares.ridge)
    draw = np.random.default_rng(1)
    for n_items in (2_500, 10_728):
        vectors = draw.standard_normal((n_items, dim)).astype(np.float32)
        vectors[:, -2] = 1.0
        folding = FoldIn(
            vectors, np.ones(n_items, np.bool_), vectors.mean(axis=0), VectorLayout(dim), settings
        )
        for n in sizes:
            took = _times(folding.vector, n_items, n)
            print(f"  FoldIn.vector, {n_items:,} random items, {n:3d} known: {took}")

    def fold_in(rows: NDArray[np.int64]) -> Any:
        labels = [1.0] * len(rows) if labelled else None
        return model.encode_queries(tt.Query(history=[ids[row] for row in rows], labels=labels))

    for n in sizes:
        print(f"  Recommender.fold_in, {len(ids):,} items, {n:3d} known: {_times(fold_in, len(ids), n)}")


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K")
    arguments.add_argument("--seed", type=int, default=42)
    given = arguments.parse_args()
    print(f"{os.cpu_count()} cores")
    models = [
        _against_training("kuairec-sample", load_config("kuairec-sample-ranking", [f"seed={given.seed}"]))
    ]
    if given.movielens:
        settings = [f"data.dir={given.movielens}", f"seed={given.seed}"]
        models.append(_against_training("movielens-100k", load_config("movielens-100k-ranking", settings)))
    with threadpool_limits(1):
        _latency(models[0], (10, 50, 200))


if __name__ == "__main__":
    main()
