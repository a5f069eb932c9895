"""`--engine ray`: memory and bytes of a large table of features, whose rows are divided among the workers.

    python benchmarks/ray_tables.py --codes 2e6 --workers 1 2 4
    python benchmarks/ray_tables.py --libraries    what torch's own ways of dividing a table send

Items have one of many codes, drawn evenly, and `mlp` towers with a row of numbers for each are trained by
squared errors for two epochs. For each number of workers a JSON line says

- ``held``: bytes of the table and its moments on the worker that has the most; ``theory``: three numbers for
  each of the table's, and a count a row, divided by the workers;
- ``memory``: what the memory of a worker's process (without files) has grown by, after the second epoch, on
  the worker where it is most; towers, pairs and the vectors of a step are in it too;
- ``sent``: bytes of rows, row numbers and gradients that workers received from others in a step, on average,
  counted where they arrive, and ``sent_theory``: a number of 4 bytes, the row, and the gradient back for each
  row that a worker's items of a step name and another worker has, counted from the batches alone;
- ``gathered``: bytes that workers would receive in a step if each gathered the whole table and they scattered
  its gradient, as FSDP does at least;
- ``driver``: what the memory of this process (without files) has grown by when it was most.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import twotower as tt
from twotower.core.blocks import Codes
from twotower.distributed import gradient_block, gradients
from twotower.distributed.group import Group
from twotower.features import EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives.squared import Squared
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.mlp import MLPConfig
from twotower.towers.table_files import on_disk
from twotower.training import CallbackList, TrainingTask
from twotower.training.batches import Batcher
from twotower.training.gradients import GradientsConfig

USERS, ITEMS, PAIRS, BATCH, WIDTH = 20_000, 200_000, 400_000, 20_000, 32


def anonymous() -> int:
    """Return the bytes of memory of this process that are not those of files."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


class CountedGroup(Group):
    """Counts the bytes that come from other workers by `exchanged`."""

    received = 0

    def exchanged(self, parts: list[torch.Tensor], lengths: list[int]) -> list[torch.Tensor]:
        """Exchange, and count."""
        got = super().exchanged(parts, lengths)
        self.received += sum(part.nbytes for of, part in enumerate(got) if of != self.rank)
        return got


class CountedBlock(gradient_block.GradientBlock):
    """Says what it holds and what it received."""

    def join_group(self, *given: Any) -> None:
        """Join by a group that counts."""
        self.before = anonymous()
        vars(gradient_block)["Group"] = CountedGroup
        super().join_group(*given)

    def cost(self) -> tuple[int, int, int]:
        """Return bytes held of the table and its moments, growth of memory, and bytes received."""
        name = "items.features.weight"
        tensors = [self.trainer.task.model.items.features.weight, *self.trainer.state[name].values()]
        return (
            sum(of.nbytes for of in tensors),
            anonymous() - self.before,
            self.trainer.part.group.received,
        )


class Watch(threading.Thread):
    """Notes the most memory of this process within a ``with`` block."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.over = 0, False

    def run(self) -> None:
        """Look ten times a second."""
        while not self.over:
            self.most = max(self.most, anonymous())
            time.sleep(0.1)


def made_task(codes: int) -> TrainingTask:
    """Return what is trained."""
    rng, cpu = np.random.default_rng(0), torch.device("cpu")
    code = Codes(rng.integers(2, codes, ITEMS).astype(np.int32), codes)
    users = SideArrays.pack(EncodedSide(np.arange(1, USERS + 1, dtype=np.int32), {}), cpu)
    items = SideArrays.pack(EncodedSide(np.arange(1, ITEMS + 1, dtype=np.int32), {"code": code}), cpu)
    config = MLPConfig(dim=16, ensemble_size=1, hidden=(32,), embedding_dim=WIDTH)
    with on_disk(None):  # as where an engine trains them
        model = TwoTowerModel(users.shape, items.shape, USERS, ITEMS, config, seed=1)
    user, item = np.sort(rng.integers(0, USERS, PAIRS)), rng.integers(0, ITEMS, PAIRS)
    pairs = Pairs.from_arrays(user, item, rng.standard_normal(PAIRS).astype(np.float32), n_users=USERS)
    return TrainingTask(model, users, items, pairs, Squared(), Squared.Config(), 0.01, seed=0)


def theory(task: TrainingTask, codes: int, workers: int) -> float:
    """Return the bytes that workers receive in a step of the second epoch, on average."""
    batcher = Batcher(task.pairs, ITEMS, BATCH, task.seed)
    owner, has = (n * np.arange(workers + 1) // workers for n in (ITEMS, codes))
    of_item = task.items.codes[:, 0].numpy()
    rows, steps = 0, 0
    for batch in batcher.epoch(2):
        there = np.arange(ITEMS) if batch.items is None else batch.items
        steps += 1
        for worker in range(workers):
            own = there[(there >= owner[worker]) & (there < owner[worker + 1])]
            named = np.unique(of_item[own])
            rows += int(((named < has[worker]) | (named >= has[worker + 1])).sum())
    return rows * (4 + 2 * 4 * WIDTH) / steps


def measured(codes: int, workers: int) -> dict[str, Any]:
    """Train, and return what it took."""
    with tt.Ray(workers=workers) as engine:
        team, start = engine.team(), anonymous()
        watch = Watch()
        watch.start()
        task = made_task(codes)
        trainer = gradients.TeamGradients.on(team, task, GradientsConfig(batch_size=BATCH, clip_norm=None))
        trainer.epoch(1, CallbackList())
        before = np.array(trainer.shares.each("cost"))
        loss = trainer.epoch(2, CallbackList())
        cost = np.array(trainer.shares.each("cost"))
        watch.over = True
    table = codes * WIDTH * 4
    steps = trainer.batcher.steps
    return {
        "workers": workers,
        "table": table,
        "held": int(cost[:, 0].max()),
        "theory": (3 * table + 4 * codes) // workers,
        "memory": int(cost[:, 1].max()),
        "sent": int((cost[:, 2] - before[:, 2]).sum() / steps),
        "sent_theory": int(theory(task, codes, workers)),
        "gathered": 2 * table * (workers - 1),
        "driver": watch.most - start,
        "loss": loss,
    }


_Mode: Any = TorchDispatchMode


class Collectives(_Mode):  # type: ignore[misc]
    """Adds up the bytes of tensors that are given to collective operations."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, then call."""
        name = str(function)
        if "c10d" in name and "wait" not in name:
            flat = tree_leaves(args)
            size = sum(one.nbytes for one in flat if isinstance(one, torch.Tensor))
            self.bytes[name] = self.bytes.get(name, 0) + size
        return function(*args, **(kwargs or {}))


def library(rank: int, folder: str, codes: int) -> None:
    """Print what a step of 1,000 rows sends with a table that torch divides."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    for way in ("fully_shard", "RowwiseParallel"):
        for sparse in (False, True):
            model = nn.Sequential(nn.Embedding(codes, WIDTH, sparse=sparse))
            found: dict[str, Any] = {"way": way, "sparse": sparse, "table": codes * WIDTH * 4}
            try:
                if way == "fully_shard":
                    fully_shard(model[0], mesh=mesh)
                else:
                    parallelize_module(model, mesh, {"0": RowwiseParallel(input_layouts=Replicate())})
                with Collectives() as counted:
                    model(torch.arange(1000)).sum().backward()
                own: Any = model[0].weight.grad
                found |= {"bytes": counted.bytes, "gradient": own.to_local().nbytes}
            except NotImplementedError as error:
                found["refused"] = str(error).splitlines()[0][:100]
            if rank == 0:
                print(json.dumps(found | {"rows": 1000 * WIDTH * 4}), flush=True)
            distributed.barrier()


def main() -> None:
    """Measure, and print a JSON line for each number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--codes", type=float, default=2e6, help="rows of the table")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--libraries", action="store_true", help="measure torch's ways of dividing a table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.libraries:
        with tempfile.TemporaryDirectory() as folder:
            processes: Any = multiprocessing
            processes.spawn(library, (folder, int(given.codes)), nprocs=2)
        return
    vars(gradients)["GradientBlock"] = CountedBlock
    for workers in given.workers:
        print(json.dumps(measured(int(given.codes), workers)), flush=True)


if __name__ == "__main__":
    main()
