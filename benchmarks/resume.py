"""Kill a training run at random moments, resume it each time, and compare its bits with an unbroken run's.

    python benchmarks/resume.py [--kills 20] [--seed 0]

Trains the recipe ``kuairec-sample`` in processes of their own and sends them SIGKILL. Prints whether the
vectors and towers of the two bundles are the same bytes.
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


def _train(run: Path) -> list[str]:
    settings = ["training.patience=40", "training.epochs=40"]
    command = [sys.executable, "-m", "twotower", "train", "kuairec-sample", "--out", str(run)]
    if run.exists():
        command.append("--resume")
    return command + [part for setting in settings for part in ("--set", setting)]


def _digests(run: Path) -> dict[str, str]:
    parts = ("towers.safetensors", "vectors.safetensors", "encoder.safetensors", "tables.json")
    return {name: hashlib.sha256((run / "bundle" / name).read_bytes()).hexdigest() for name in parts}


def main() -> None:
    """Run and print."""
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
        kills = 0
        while kills < given.kills:
            with subprocess.Popen(
                _train(broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    # most of the first seconds go into imports and data: reach into training as often as not
                    process.wait(moments.uniform(0.1, 0.5) * took)
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
                    continue
            break  # it came through before the last kill
        subprocess.run(_train(broken), check=True, capture_output=True)
        lines = [(run / "history.jsonl").read_text().splitlines() for run in (whole, broken)]
        losses = [[json.loads(line)["train_loss"] for line in history] for history in lines]
        print(f"unbroken: {took:.1f} s, {len(lines[0])} epochs; killed {kills} times")
        print(f"same history: {losses[0] == losses[1]}; same bytes: {_digests(whole) == _digests(broken)}")


if __name__ == "__main__":
    main()
