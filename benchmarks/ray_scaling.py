"""`--engine ray`: bytes sent and CPU seconds of each worker in a round of ALS, and the cost of one worker.

    python benchmarks/ray_scaling.py --rows 1e7 --workers 1 2 4 8
    python benchmarks/ray_scaling.py --model    what to expect at other sizes, from these constants

Synthetic pairs (a cluster of items that each user prefers, Zipf's law for users and items) are solved at 64
dimensions, by `LinearALS` in this process and in blocks on Ray workers of one thread each, for some rounds.
Workers share the cores of this machine, so what is reported is CPU seconds and bytes, not time:

- ``sent``: bytes of vectors that workers received from other workers in a round, counted where they arrive;
  ``theory``: 4 bytes x dimensions x the rows of the other side that the pairs of a block name and that
  another block has, counted from the pairs alone;
- ``driver``: bytes between the driver and the workers in a round: the vectors of both sides there and back,
  and two strengths each (with features also what each vector is regularised towards);
- ``worker``: CPU seconds of each worker in a round, on average and the most;
- ``overhead``: CPU seconds of all processes in a round, with one worker, beside those without Ray.
"""

from __future__ import annotations

import argparse
import json
import resource
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import twotower as tt
from twotower.distributed.als import BlockALS
from twotower.distributed.als_block import AlsBlock, SolvedRows
from twotower.features import EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.linear import LinearConfig
from twotower.training import CallbackList, TrainingTask
from twotower.training.closed_form.linear_als import LinearALS

DIM = 64
PAIR, ROW, DRIVER_ROW = 1.8e-7, 2.5e-6, 2.1e-6
"""CPU seconds in a round for each pair and row on the workers, and for each row in the driver: measured by
this program with 1e6 and 1e7 rows and one worker."""
COPIES = 0.7
"""Blocks that a vector is sent to, as a share of those there are besides its own: measured with 8 workers."""
NETWORK, CORE_HOUR = 1.25e9, 0.05
"""Bytes a second of a machine (10 Gbit/s), and dollars for a core and hour with 4 GB: assumptions."""
SIZES = ((1e7, 1e5, 2e4, 2), (1e8, 1e6, 2e5, 8), (1e9, 1e7, 1e6, 16), (1e10, 1e8, 5e6, 64))
"""Interactions, users, items, workers."""
ROUNDS = 20
"""Rounds of a training with its refit."""
CLUSTERS = 100


class CountedBlock(AlsBlock):
    """Counts the bytes that come from other workers, and its CPU seconds."""

    received = 0

    def solve(self, which: str, member: int, squares: Any, towards: Any, *parts: Any) -> SolvedRows:
        """Count, then solve."""
        self.received += sum(part.nbytes for part in parts)
        return super().solve(which, member, squares, towards, *parts)

    def cost(self) -> tuple[int, float]:
        """Return the bytes received so far, and the CPU seconds of the process."""
        return self.received, seconds()


class CountedALS(BlockALS):
    """`BlockALS` on blocks that count."""

    block = CountedBlock


def seconds() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def made_pairs(rows: int, users: int, items: int) -> Pairs:
    """Return pairs of users and items; three in four within the user's cluster."""
    rng = np.random.default_rng(0)
    activity = np.exp(rng.standard_normal(users))
    user = np.searchsorted(np.cumsum(activity) / activity.sum(), np.sort(rng.random(rows))).clip(0, users - 1)
    per = items // CLUSTERS
    own = (user * 7919 % CLUSTERS) * per + np.minimum(per * rng.random(rows) ** 3, per - 1).astype(np.int64)
    anywhere = np.minimum(items * rng.random(rows) ** 3, items - 1).astype(np.int64)
    item = np.where(rng.random(rows) < 0.75, own, anywhere)
    return Pairs.from_arrays(user, item, rng.random(rows, dtype=np.float32), n_users=users)


def made_task(pairs: Pairs, items: int) -> TrainingTask:
    """Return what is trained: towers without features."""
    users = pairs.n_users
    one, other = (
        SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), {}), torch.device("cpu"))
        for n in (users, items)
    )
    config = LinearConfig(dim=DIM, ensemble_size=1)
    model = TwoTowerModel(one.shape, other.shape, users, items, config, seed=1)
    settings = AllPairs.Config(regularisation=0.33, hard_weight=0.0)
    return TrainingTask(model, one, other, pairs, AllPairs(12.0, 0.5).on(pairs), settings, 0.05, seed=0)


def theory(pairs: Pairs, bounds: dict[str, NDArray[np.int64]]) -> int:
    """Return the bytes of the vectors that blocks need from others, counted from the pairs."""
    block = {
        which: np.searchsorted(bounds[which], rows, "right") - 1
        for which, rows in (("users", pairs.user), ("items", pairs.item))
    }
    found = 0
    for which, rows in (("users", pairs.user), ("items", pairs.item)):
        target = block["items" if which == "users" else "users"]
        away = target != block[which]
        found += len(np.unique(rows[away].astype(np.int64) * (target.max() + 1) + target[away]))
    return found * (DIM - 2) * 4  # a vector has a bias and a 1, which are not sent


def rounds(trainer: LinearALS, epochs: int) -> float:
    """Run some rounds, and return the last loss."""
    loss = 0.0
    for number in range(1, epochs + 1):
        loss = trainer.epoch(number, CallbackList())
    return loss


def expected(pairs: float, users: float, items: float, workers: int) -> dict[str, float]:
    """Return what a training takes by the model."""
    rows, size = users + items, (DIM - 2) * 4
    exchanged = COPIES * (workers - 1) * rows * size
    driver = 2 * rows * size
    cpu = PAIR * pairs + ROW * rows
    seconds = cpu / workers + DRIVER_ROW * rows + (driver + exchanged / workers) / NETWORK
    minutes = ROUNDS * seconds / 60
    return {
        "interactions": pairs,
        "workers": workers,
        "cpu_seconds_a_round": round(cpu, 1),
        "driver_seconds_a_round": round(DRIVER_ROW * rows, 1),
        "driver_gb_a_round": round(driver / 1e9, 2),
        "worker_gb_a_round": round(exchanged / workers / 1e9, 2),
        "seconds_a_round": round(seconds, 1),
        "minutes": round(minutes, 1),
        "worker_memory_gb": round((16 * pairs + 3 * rows * size + exchanged) / workers / 1e9, 2),
        "driver_memory_gb": round(5 * rows * DIM * 4 / 1e9, 2),
        "dollars": round((workers + 4) * minutes / 60 * CORE_HOUR, 2),
    }


def main() -> None:
    """Measure, and print a JSON line for each number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--model", action="store_true", help="print what to expect, and measure nothing")
    given = parser.parse_args()
    if given.model:
        for size in SIZES:
            print(json.dumps(expected(*size)))
        return
    torch.set_num_threads(1)
    pairs = made_pairs(int(given.rows), given.users, given.items)
    warm = made_task(made_pairs(1000, 100, 100), 100)
    rounds(LinearALS(warm, LinearALS.Config()), 1)  # compiles
    start = seconds()
    trainer = LinearALS(made_task(pairs, given.items), LinearALS.Config())
    load = seconds() - start
    rounds(trainer, 1)
    start = seconds()
    loss = rounds(trainer, given.rounds)
    alone = (seconds() - start) / given.rounds
    print(
        json.dumps({"workers": 0, "rows": len(pairs), "load": load, "cpu": alone, "loss": loss}), flush=True
    )
    del trainer
    for workers in given.workers:
        with tt.Ray(workers=workers) as engine:
            team = engine.team()
            start = seconds()
            found = CountedALS.on(team, made_task(pairs, given.items), LinearALS.Config())
            load = seconds() - start
            loaded = np.array(found.blocks.each("cost"))
            rounds(found, 1)  # compiles
            before, start = np.array(found.blocks.each("cost")), seconds()
            loss = rounds(found, given.rounds)
            driver = (seconds() - start) / given.rounds
            cost = (np.array(found.blocks.each("cost")) - before) / given.rounds
            blocks, n = found.blocks, given.users + given.items
            print(
                json.dumps(
                    {
                        "workers": workers,
                        "sent": int(cost[:, 0].sum()),
                        "sent_most": int(cost[:, 0].max()),
                        "theory": theory(pairs, blocks.bounds),
                        "driver_bytes": n * (2 * (DIM - 2) + 2) * 4,
                        "driver_cpu": driver,
                        "load": load,
                        "worker_load": float(loaded[:, 1].mean()),
                        "worker": float(cost[:, 1].mean()),
                        "worker_most": float(cost[:, 1].max()),
                        "overhead": float((driver + cost[:, 1].sum()) / alone - 1),
                        "loss": loss,
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
