"""Kill a training run at random times, resume it, and compare it bit for bit with an uninterrupted run.

    python benchmarks/resume.py [--kills 20] [--seed 0]

Trains the recipe ``kuairec-sample`` in separate processes and sends them SIGKILL. Prints whether the vectors
and towers of the two bundles are identical.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def _train(run: Path) -> list[str]:
    settings = ["training.epochs=12", "training.patience=12"]
    command = [sys.executable, "-m", "twotower", "train", "kuairec-sample", "--out", str(run)]
    if (run / "config.toml").exists():
        command.append("--resume")
    return command + [part for setting in settings for part in ("--set", setting)]


def _digests(run: Path) -> dict[str, str]:
    parts = ("towers.safetensors", "vectors.safetensors", "encoder.safetensors", "tables.json")
    return {name: hashlib.sha256((run / "bundle" / name).read_bytes()).hexdigest() for name in parts}


def _history(run: Path) -> list[dict[str, Any]]:
    """Return the records without times."""
    lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if "second" not in key} for line in lines]


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole, broken = Path(scratch) / "whole", Path(scratch) / "broken"
        start = time.perf_counter()
        subprocess.run(_train(whole), check=True, capture_output=True)
        took = time.perf_counter() - start
        kills, runs = 0, 0
        same: list[bool] = []
        while kills < given.kills or not same:
            with subprocess.Popen(
                _train(broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    # after imports and reading, which take the first seconds, so mostly during training
                    process.wait(moments.uniform(0.05, 0.3) * took if kills < given.kills else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
                    continue
            if process.returncode:
                raise SystemExit(f"a run failed with exit code {process.returncode}")
            # it finished: compare it, and interrupt another
            same.append(_history(whole) == _history(broken) and _digests(whole) == _digests(broken))
            runs += 1
            broken = broken.with_name(f"broken-{runs}")
        print(
            f"uninterrupted: {took:.1f} s, {len(_history(whole))} records; killed {kills} times over {runs} "
            "runs"
        )
        print(f"identical history and bytes: {sum(same)} of {len(same)} runs")


if __name__ == "__main__":
    main()
