"""Load randomly damaged bundles with matching hashes; none may crash or hang the process.

    python benchmarks/bundle_fuzz.py [--cases 2000] [--seed 0] [--seconds 60]

Each bundle is loaded by a worker process with a time limit. It must be refused with a `BundleError` or give
valid answers: finite scores, known ids. The benchmark counts crashes (the worker exits), hangs (it exceeds
the limit), other exceptions and wrong answers. It prints the damage done to such bundles, and then the exit
code is 1.

Each bundle is damaged in one to three ways: bytes flipped, removed, added or zeroed; headers, shapes, types
and numbers of tensors; values in JSON; whole texts; parts replaced by a pipe, folder, device or link; the
bytes, numbers and header of an index. The bundles have features of every kind and no index, HNSW, IVF or
IVF-PQ; one has an HNSW index in the format of earlier versions.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "recommender"))

from test_bundle import SETTINGS, data

from bundle_damage import as_format_1, check_answers, copied, damaged, rehash
from twotower.errors import BundleError
from twotower.estimator import TwoTower
from twotower.recommender import Recommender
from twotower.retrieval import INDEXES


def bundles(folder: Path) -> list[Path]:
    """Create the bundles to damage: linear and deep towers, with and without label, each kind of index."""
    made: list[Path] = []
    rating = TwoTower(**{**SETTINGS, "objective": "squared", "transform": "duration_rank"}).fit(data())
    ranking = TwoTower(**{**SETTINGS, "objective": "all_pairs"}).fit(data("str"))
    for name, model, kind in (
        ("plain", rating, None),
        ("text ids", ranking, None),
        ("hnsw", rating, "hnsw"),
        ("ivf", ranking, "ivf"),
        ("ivfpq", rating, "ivfpq"),
    ):
        index = None if kind is None else INDEXES[kind].build(model.items.vectors, **_SETTINGS[kind])
        replace(model, index=index).save(folder / name)
        made.append(folder / name)
    made.append(copied(folder / "hnsw", folder / "hnsw of format 1"))
    as_format_1(made[-1], INDEXES["hnsw"].build(rating.items.vectors, **_SETTINGS["hnsw"]))
    rehash(made[-1])
    return made


_SETTINGS: dict[str, dict[str, int]] = {
    "hnsw": {"m": 2, "ef_search": 2},
    "ivf": {"nlist": 4, "nprobe": 1},
    "ivfpq": {"nlist": 4, "nprobe": 1, "m": 2, "refine": 1},
}


class Worker:
    """A process that loads bundles one after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()
        self.said: list[str] = []

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _drain(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said = [*self.said[-20:], line]

    def load(self, folder: Path, seconds: float) -> tuple[str, str]:
        """Return the outcome (refused, answers, wrong, crash, hang) and its details."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.end()
            return "hang", ""
        if not line:
            return "crash", f"exit code {self.process.wait()}: {''.join(self.said)[-2000:]}"
        how, particulars = json.loads(line)
        return how, particulars

    @property
    def alive(self) -> bool:
        """Whether it can load another bundle."""
        return self.process.poll() is None

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def work() -> None:
    """Load the bundles named on stdin; the worker's main function."""
    import faulthandler  # noqa: PLC0415
    import resource  # noqa: PLC0415

    import torch  # noqa: PLC0415

    faulthandler.enable()
    torch.set_num_threads(1)
    # a giant allocation raises an error instead of exhausting the machine
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 30), size + (8 << 30)))
    for line in sys.stdin:
        how: tuple[str, str]
        try:
            model = Recommender.load(Path(line.rstrip("\n")))
        except BundleError as error:
            how = ("refused", str(error))
        except BaseException as error:
            how = ("wrong", f"load: {type(error).__name__}: {error}")
        else:
            try:
                check_answers(model)
                how = ("answers", "")
            except BaseException as error:
                how = ("wrong", f"ask: {type(error).__name__}: {error}")
        print(json.dumps(how), flush=True)


def main() -> int:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work()
        return 0
    counts: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        whole = bundles(Path(folder) / "whole")
        worker = Worker()
        for bundle in whole:
            assert worker.load(bundle, 300.0) == ("answers", ""), bundle
        for case in range(given.cases):
            rng = random.Random(f"{given.seed} {case}")
            target = copied(rng.choice(whole), Path(folder) / "damaged")
            done = damaged(target, rng)
            if not worker.alive:
                worker = Worker()
            start = time.perf_counter()
            how, particulars = worker.load(target, given.seconds)
            slowest = max(slowest, time.perf_counter() - start)
            counts[how] += 1
            if how not in ("refused", "answers"):
                print(f"case {case} ({done}): {how}: {particulars}", flush=True)
        worker.end()
    parts: dict[str, Any] = {how: counts[how] for how in ("refused", "answers", "wrong", "crash", "hang")}
    print(
        f"{given.cases} damaged bundles with matching hashes: {parts['refused']} refused, "
        f"{parts['answers']} answered validly, {parts['wrong']} other exceptions or answers, "
        f"{parts['crash']} crashes, {parts['hang']} hangs; the slowest took {slowest:.1f} s"
    )
    return 1 if counts["wrong"] + counts["crash"] + counts["hang"] else 0


if __name__ == "__main__":
    sys.exit(main())
