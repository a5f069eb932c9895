"""`init`, `train` and `recommend` without manual edits on data in many layouts, against popularity.

    python benchmarks/layouts.py [--data FOLDER] [--only NAME ...] [--users 1500] [--keep FOLDER]

Synthetic data with user tastes, in the layouts of well-known data sets (`tests/taste_layouts.py`), and the
data sets in ``--data``, one folder each, if given. For each it runs ``twotower init --yes``, ``check``,
``train`` and ``recommend --all``, as a user would. It prints NDCG@10 of our model and of popularity on the
config's test set, and our lead with its paired 95% interval over users. One seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from taste_layouts import TASTE_LAYOUTS, Size  # noqa: E402
from twotower.config import load_config  # noqa: E402
from twotower.evaluation import RankingComparison  # noqa: E402
from twotower.workflows import OURS, Run, compare_rankers, load_parts  # noqa: E402

REAL = ("ml-100k", "amazon-beauty", "amazon-games", "citeulike", "kuairec-sample")
METRIC = "ndcg@10"


def _command(*args: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "twotower", *map(str, args)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"twotower {' '.join(map(str, args))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _measure(name: str, tables: list[Path], folder: Path) -> bool:
    """Print one line; return whether ours beats popularity."""
    start, config, run = time.perf_counter(), folder / "config.toml", folder / "run"
    _command("init", *tables, "--yes", "--out", config)
    errors = [f for f in json.loads(_command_json("check", config))["findings"] if f["severity"] == "error"]
    _command("train", config, "--out", run, "--json")
    _command("recommend", run, "--all", "-k", 10, "--out", folder / "recs.parquet")
    settled = load_config(str(config))
    found = compare_rankers(
        settled, Run.finished(run).recommender(), load_parts(settled), baselines=["popularity"]
    ).comparison
    assert isinstance(found, RankingComparison)
    ours, popular = (found.models[model].metrics[METRIC].value for model in (OURS, "popularity"))
    gap = found.differences["popularity"][METRIC]  # popularity minus ours
    label = settled.schema_.label if settled.schema_ is not None else None
    print(
        f"| {name} | {label or 'none'} | {settled.split.method} | {found.users:,} | {ours:.4f} | "
        f"{popular:.4f} | {-gap.value:+.4f} [{-gap.high:+.4f}, {-gap.low:+.4f}] | {len(errors)} | "
        f"{time.perf_counter() - start:.0f} |",
        flush=True,
    )
    return gap.high < 0


def _command_json(*args: object) -> str:
    """Return the output of ``check --json``, which may contain errors."""
    done = subprocess.run(
        [sys.executable, "-m", "twotower", *map(str, args), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--data", type=Path, help=f"folder with some of {', '.join(REAL)}")
    arguments.add_argument("--only", nargs="+", help="only these; default: all")
    arguments.add_argument("--users", type=int, default=1500, help="users in each synthetic data set")
    arguments.add_argument("--keep", type=Path, help="keep generated files in this folder")
    given = arguments.parse_args()
    size = Size(users=given.users)
    real = [name for name in REAL if given.data is not None and (given.data / name).is_dir()]
    print(f"| data | label | split | users | ours {METRIC} | popularity | lead, 95% | check errors | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    behind = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in [*real, *TASTE_LAYOUTS]:
            if given.only and name not in given.only:
                continue
            folder = (given.keep or Path(scratch)) / name
            (folder / "data").mkdir(parents=True)
            write = TASTE_LAYOUTS.get(name)
            tables = [given.data / name] if write is None else write(folder / "data", size)
            if not _measure(name, tables, folder):
                behind.append(name)
    if behind:
        raise SystemExit(f"not above popularity: {', '.join(behind)}")


if __name__ == "__main__":
    main()
