"""`check`: planted faults found, false alarms on clean data, and its time on a synthetic KuaiRec.

    python benchmarks/check.py [--scale 1.0] [--planted-scale 0.05] [--data FOLDER] [--ml-100k FOLDER]

Faults are planted one at a time in the tables of a synthetic KuaiRec; each must be found by its check. An
alarm is an error or a warning. ``--data`` takes existing files of ``twotower synth kuairec``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from planted_faults import PLANTS, clean  # noqa: E402
from twotower.audit import Audit, Severity, audit  # noqa: E402
from twotower.config import load_config  # noqa: E402
from twotower.datasets.synthetic import write_kuairec  # noqa: E402


def _alarms(found: Audit) -> list[str]:
    return [f"{f.check}: {f.where}: {f.what}" for f in found.findings if f.severity is not Severity.NOTE]


def _planted(scale: float, scratch: Path) -> None:
    write_kuairec(scratch / "raw", scale=scale, seed=0)
    base, found, others = clean(scratch / "raw"), 0, 0
    for name, fault in PLANTS.items():
        tables = base.copy()
        fault.spoil(tables)
        findings = audit(load_config(tables.write(scratch / name))).findings
        right = [f for f in findings if f.check == fault.check and f.severity.value == fault.severity]
        alarms = {f.check for f in findings if f.severity is not Severity.NOTE}
        found += bool(right)
        others += len(alarms - {fault.check})
        beside = ", ".join(sorted(alarms - {fault.check}))
        said = f"{'found' if right else 'MISSED'}: {fault.check}" + (f" (and {beside})" if beside else "")
        print(f"  {f'fault {fault.fault}' if fault.fault else 'other':8} {name:62} {said}", flush=True)
    print(f"planted faults found: {found} of {len(PLANTS)} (scale {scale:g}; {others} other alarms beside)")
    print(f"alarms on the same tables, clean: {_alarms(audit(load_config(base.write(scratch / 'clean'))))}")


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--scale", type=float, default=1.0)
    arguments.add_argument("--planted-scale", type=float, default=0.05)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--ml-100k", type=Path, default=ROOT.parent / "shared" / "data" / "ml-100k")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        _planted(given.planted_scale, Path(scratch) / "planted")
        sets: dict[str, tuple[str, list[str]]] = {"kuairec-sample": ("kuairec-sample", [])}
        if given.ml_100k.is_dir():
            sets["ml-100k"] = ("movielens-100k", [f"data.dir={given.ml_100k}"])
        folder = given.data
        if folder is None:
            folder = Path(scratch) / "synthetic"
            write_kuairec(folder, scale=given.scale, seed=0)
        for name, (recipe, settings) in sets.items():
            print(f"alarms on {name}: {_alarms(audit(load_config(recipe, settings)))}", flush=True)
        found = audit(load_config("kuairec", [f"data.dir={folder}"]))
        stages = ", ".join(
            f"{stage} {seconds:.1f}" for stage, seconds in found.seconds.items() if seconds > 0.5
        )
        rows = sum(found.rows.values())
        print(f"alarms on a synthetic KuaiRec: {_alarms(found)}")
        print(f"  {rows:,} rows without copies, {sum(found.seconds.values()):.1f} s ({stages})", flush=True)
        start = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "twotower",
            "check",
            "kuairec",
            "--set",
            f"data.dir={folder}",
            "--json",
        ]
        done = subprocess.run(command, check=False, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        took = time.perf_counter() - start
        print(f"  as a command: {took:.1f} s, exit code {done.returncode}, peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
