"""The whole pipeline at several scales: from synthetic KuaiRec files to a trained, evaluated, saved model.

    python benchmarks/whole_job.py [--scales 0.1 0.3 1.0]

Each scale runs ``twotower synth`` and then ``twotower train kuairec`` in separate processes. Prints seconds,
seconds per stage, seconds per million rows, and the peak memory of the largest process so far.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def _run(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "twotower", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--scales", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for scale in sorted(given.scales):
            data, run = Path(scratch) / f"data-{scale}", Path(scratch) / f"run-{scale}"
            made = _run("synth", "kuairec", str(data), "--scale", str(scale))
            took = _run("train", "kuairec", "--out", str(run), "--set", f"data.dir={data}")
            with open(data / "big_matrix.csv", "rb") as file:
                rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 24), b""))
            stages = json.loads((run / "metrics.json").read_text())["seconds"]
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            shares = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
            print(f"scale {scale}: synth {made:.1f} s; train {took:.1f} s ({shares})", flush=True)
            print(f"  {1e6 * took / rows:.2f} s per million rows of big; peak {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
