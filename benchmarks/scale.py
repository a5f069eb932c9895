"""Time and memory of training as interactions grow: a generator, and one measured run.

    python benchmarks/scale.py write --rows 1e8 --out DIR    Parquet parts, a config beside them
    python benchmarks/scale.py store --rows 1e8 --out DIR    builds a new store of them, and trains nothing
    python benchmarks/scale.py train --rows 1e8 --out DIR    a run on them, by the config
    python benchmarks/scale.py batch --run DIR/run --out recs.parquet
    python benchmarks/scale.py train --rows 1e7 --given store | memory --out DIR

One million users and 200,000 items by default (``--users``, ``--items``), in 500 clusters; how active users
and how popular items are follows Zipf's law. The j-th interaction of a user is a pure function of the seed,
the user and j, so parts are written without any other part in memory, in order of time, and the same
interactions come out in whatever way they are asked for.

``train`` trains ``all_pairs`` at 64 dimensions for 3 rounds without a search, refits on the training and
validation set, evaluates a million test rows (``--test-rows``; a tenth of less than ten million), and saves.
``--given``: ``files`` reads what ``write`` wrote; ``store`` and ``memory`` give the sets from the generator,
without files, as a store on disk or in memory.

Each run is a process of its own: its peak memory (resident set, memory-mapped files that are read count too)
and CPU seconds are printed as JSON, with the seconds of each stage, bytes an interaction and the metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from twotower.config import load_config
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.data.store import StoredEvents, StoredTrain, StoreWriter
from twotower.workflows.batch import recommend_all
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run
from twotower.workflows.training import train as run

CLUSTERS, OWN, LIKED = 500, 0.75, 1.0
"""Clusters of users and items; share of a user's interactions within the user's own; how much better these
are liked."""
PART = 5_000_000
"""Interactions of a Parquet part."""
START, YEAR = 1_700_000_000, 365 * 86_400
BLOCK = 20_000  # users at once, where they are asked for one after another

CONFIG = """seed = 42
[data]
interactions = "{folder}"
[schema]
user = "user"
item = "item"
label = "rating"
timestamp = "at"
[split]
method = "random"
test = {share}
validation = {share}
[model]
kind = "linear"
dim = 64
[objective]
name = "all_pairs"
regularisation = 0.33
[training]
epochs = 3
patience = 3
[evaluation]
resamples = 200
"""


def mixed(x: np.ndarray) -> np.ndarray:
    """Return 64 well-mixed bits of each counter, uint64 (SplitMix64: Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def zipf(share: np.ndarray, n: int) -> np.ndarray:
    """Return ranks 0 to n - 1 with probabilities of about ``1 / (rank + 1) ** .9`` from uniform numbers."""
    rank = ((n**0.1 - 1.0) * share + 1.0) ** 10.0 - 1.0
    return np.asarray(np.minimum(rank.astype(np.int64), n - 1))


@dataclass(frozen=True)
class World:
    """Interactions that are computed when they are asked for.

    Attributes:
        rows: number of interactions.
        users, items: how many there are.
        seed: of everything.
    """

    rows: int
    users: int = 1_000_000
    items: int = 200_000
    seed: int = 42

    @cached_property
    def counts(self) -> np.ndarray:
        """Interactions of each user, (users,), which add up to the rows."""
        activity = np.exp(np.random.default_rng(self.seed).standard_normal(self.users))
        ends = np.floor(np.cumsum(activity) / activity.sum() * self.rows + 0.5).astype(np.int64)
        ends[-1] = self.rows
        return np.diff(ends, prepend=0)

    def interactions(self, user: np.ndarray, j: np.ndarray) -> dict[str, np.ndarray]:
        """Return the j-th interactions (n,) of users (n,): item, rating, seconds."""
        start = mixed(
            (user.astype(np.uint64) << np.uint64(24)) + j.astype(np.uint64) + np.uint64(self.seed << 50)
        )
        uniform = [start]
        for step in range(3):
            uniform.append(mixed(uniform[-1] + np.uint64(0x9E3779B97F4A7C15 + step)))
        share = [(bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 for bits in uniform]
        own = mixed(user.astype(np.uint64) + np.uint64(7)) % np.uint64(CLUSTERS)
        inside = share[0] < OWN
        per = self.items // CLUSTERS
        item = np.where(
            inside, zipf(share[1], per) * CLUSTERS + own.astype(np.int64), zipf(share[1], self.items)
        )
        of_user, of_item = (
            (mixed(of.astype(np.uint64) + np.uint64(add)) % np.uint64(1000)).astype(np.float64) / 1000.0
            for of, add in ((user, 11), (item, 13))
        )
        mean = 2.0 + LIKED * (item % CLUSTERS == own.astype(np.int64)) + of_user + of_item
        rating = np.clip(np.round(mean + 2.0 * (share[2] - 0.5)), 1, 5)
        at = START + ((j + share[3]) / self.counts[user] * YEAR).astype(np.int64)
        return {
            "item": item.astype(np.int32),
            "rating": rating.astype(np.float32),
            "at": at.astype(np.uint32),
        }

    def blocks(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Yield users and their interactions, user after user, each in order of time."""
        for first in range(0, self.users, BLOCK):
            counts = self.counts[first : first + BLOCK]
            user = np.repeat(np.arange(first, first + len(counts)), counts)
            j = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
            yield user, self.interactions(user, j)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield all interactions as frames by time: of everyone the first few, then the next, and so on."""
        n = max(1, round(self.rows / PART))
        rng = np.random.default_rng(self.seed)
        for part in range(n):
            first, last = self.counts * part // n, self.counts * (part + 1) // n
            user = np.repeat(np.arange(self.users), last - first)
            within = np.repeat(np.cumsum(last - first) - (last - first), last - first)
            j = np.arange(len(user)) - within + first[user]
            made = self.interactions(user, j)
            frame = pl.DataFrame({"user": user.astype(np.int32), **made})
            yield frame[rng.permutation(len(user))]


def write(world: World, out: Path, test_rows: float) -> dict[str, Any]:
    """Write Parquet parts and the config that trains on them."""
    folder, begun = out / "events", time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, frame in enumerate(world.parts()):
        frame.write_parquet(folder / f"part-{number:05}.parquet")
    share = min(test_rows / world.rows, 0.1)
    (out / "config.toml").write_text(CONFIG.format(folder="events", share=round(share, 6)), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"bytes": size, "parts": number + 1, "seconds": round(time.perf_counter() - begun, 1)}


def sets(world: World, out: Path, given: str, test_rows: float) -> Any:
    """Return training, validation and test set without files: the training set on disk, or all in memory."""

    share = min(test_rows / world.rows, 0.1)
    schema = Schema(user="user", item="item", label="rating", timestamp="at")
    held: dict[str, list[pl.DataFrame]] = {"validation": [], "test": [], "train": []}
    chosen, counts, seen = [], np.zeros(world.users, np.int64), np.zeros(world.items, np.int64)
    for user, made in world.blocks():
        frame = pl.DataFrame(
            {
                "user": user,
                "item": made["item"].astype(np.int64),
                **{name: made[name].astype(np.float64) for name in ("rating", "at")},
            }
        )
        keys = mixed(np.arange(len(user), dtype=np.uint64) + (np.uint64(user[0]) << np.uint64(24)))
        lot = (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53
        held["test"].append(frame.filter(pl.Series(lot < share)))
        held["validation"].append(frame.filter(pl.Series((lot >= share) & (lot < 2 * share))))
        kept = lot >= 2 * share
        chosen.append(np.packbits(kept))
        counts += np.bincount(user[kept], minlength=world.users)
        seen += np.bincount(made["item"][kept], minlength=world.items)
        if given == "memory":
            held["train"].append(frame.filter(pl.Series(kept)))
    users = pl.DataFrame({"user": np.arange(world.users)})
    items = pl.DataFrame({"item": np.arange(world.items)})
    parts = {name: Dataset(pl.concat(of), users, items, schema) for name, of in held.items() if of}
    if given == "memory":
        return Parts(parts["train"].as_train(), parts["validation"], parts["test"])
    place = np.cumsum(seen > 0) - 1
    folder = out / "store"
    shutil.rmtree(folder, ignore_errors=True)
    dtypes = {"label": np.dtype(np.float32), "time": np.dtype(np.uint32)}
    of_users, of_items = (pl.Series(np.flatnonzero(of)) for of in (counts, seen))
    with StoreWriter.new(folder, of_users, of_items, int(counts.sum()), dtypes) as writer:
        for (user, made), bits in zip(world.blocks(), chosen, strict=True):
            kept = np.unpackbits(bits, count=len(user)).astype(bool)
            own = counts[user[0] : user[-1] + 1]
            writer.append(
                own[own > 0], place[made["item"][kept]], label=made["rating"][kept], time=made["at"][kept]
            )
    return Parts(
        StoredTrain(StoredEvents.open(folder), users, items, schema), parts["validation"], parts["test"]
    )


def store(world: World, out: Path) -> dict[str, Any]:
    """Build a new store of what `write` wrote; return what it took."""

    folder = out / "stores"
    shutil.rmtree(folder, ignore_errors=True)
    config = load_config(out / "config.toml", [f"data.store_dir={folder.absolute()}", "data.store=always"])
    begun, spent = time.perf_counter(), cpu()
    parts = load_parts(config, log=lambda line: print(line, file=sys.stderr))
    seconds, used = time.perf_counter() - begun, cpu() - spent
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return {
        "rows": [len(part) for part in (parts.train, parts.validation, parts.test)],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "rows_per_cpu_second": round(world.rows / used),
        "bytes": size,
        **memory(world.rows),
    }


def train(world: World, out: Path, given: str, test_rows: float) -> dict[str, Any]:
    """Train, evaluate and save a run; return what it took."""

    config_file = out / "config.toml"
    if given != "files":
        out.mkdir(parents=True, exist_ok=True)
        config_file.write_text(CONFIG.format(folder="events", share=0.1), encoding="utf-8")
    before = time.perf_counter()
    parts = None if given == "files" else sets(world, out, given, test_rows)
    made = time.perf_counter() - before
    shutil.rmtree(out / "run", ignore_errors=True)
    spent = cpu()
    found = run(
        load_config(config_file), out / "run", parts=parts, log=lambda line: print(line, file=sys.stderr)
    )
    metrics = found.metrics
    return {
        "given": given,
        "rows": metrics["data"]["rows"],
        "seconds": metrics["seconds"],
        "whole_seconds": round(time.perf_counter() - before - made, 1),
        "cpu_seconds": round(cpu() - spent, 1),
        "seconds_to_make_the_sets": round(made, 1),
        **memory(world.rows),
        "ndcg@100": metrics["ranking"]["ndcg@100"]["value"],
    }


def batch(folder: Path, out: Path) -> dict[str, Any]:
    """Write the top 100 of every user of a run; return what it took."""

    begun, spent = time.perf_counter(), cpu()
    recommender = Run.finished(folder).recommender()
    loaded = time.perf_counter() - begun
    rows = recommend_all(recommender, out, 100)
    seconds = time.perf_counter() - begun - loaded
    users, peak = len(recommender.users), memory(len(recommender.users))
    return {
        "users": users,
        "rows": rows,
        "load_seconds": round(loaded, 1),
        "seconds": round(seconds, 1),
        "users_per_second": round(users / seconds),
        "cpu_seconds": round(cpu() - spent, 1),
        **peak,
        "faiss_users_per_second": faiss_rate(recommender.users.vectors, recommender.items.vectors),
    }


def faiss_rate(users: np.ndarray, items: np.ndarray, timed: int = 20_000) -> int | None:
    """Return for how many users a second FAISS finds the exact top 100, seen items too; None without it."""
    try:
        import faiss  # noqa: PLC0415
    except ImportError:
        return None
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    begun = time.perf_counter()
    index.search(users[:timed], 100)
    return round(min(timed, len(users)) / (time.perf_counter() - begun))


def cpu() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(rows: int) -> dict[str, float]:
    """Return the peak resident set of this process, in GB and in bytes a row."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_gb": round(peak / 1e9, 2), "peak_bytes_a_row": round(peak / rows, 1)}


def main() -> None:
    """Do what the command line says; ``train`` and ``batch`` in a process of their own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["write", "store", "train", "batch"])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--users", type=float, default=1e6)
    parser.add_argument("--items", type=float, default=2e5)
    parser.add_argument("--test-rows", type=float, default=1e6)
    parser.add_argument("--given", choices=["files", "store", "memory"], default="files")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    if "SCALE_CHILD" not in os.environ and told.what != "write":
        child = os.environ | {"SCALE_CHILD": "1"}
        raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=child, check=False).returncode)
    world = World(int(told.rows), int(told.users), int(told.items))
    if told.what == "write":
        found = write(world, told.out, told.test_rows)
    elif told.what == "store":
        found = store(world, told.out)
    elif told.what == "train":
        found = train(world, told.out, told.given, told.test_rows)
    else:
        assert told.run is not None, "--run: the run whose users are recommended to"
        found = batch(told.run, told.out)
    print(json.dumps({"what": told.what, **found}))


if __name__ == "__main__":
    main()
