"""What a shadow, and a split with another model, cost the answers of a server.

    python benchmarks/shadow.py [--items 10728] [--rate 200] [--seconds 8] [--rounds 4]

Three servers of models with random vectors are asked in turn, several times, by a client of its own process
at fixed times (open loop): one model; the same with a shadow; two models with --split 50/50. Printed: the
median over the rounds of p50 and p99, each as a ratio to those of one model in the same round, and what the
shadow did.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import httpx
import numpy as np

from serving import Started, load, made_run, workplace
from twotower.recommender import Recommender


def started(store: Path, *words: str) -> Started:
    command = [sys.executable, "-m", "twotower", "serve", *words, "--port", "0", "--store", str(store)]
    return Started([*command, "--log-level", "warning"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=10_728)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    with workplace() as scratch:
        runs = [
            str(made_run(scratch / name, given.items, given.dim, seed=seed))
            for seed, name in enumerate(("a", "b"))
        ]
        users = Recommender.load(Path(runs[0]) / "bundle").user_ids.to_list()[:5000]
        servers = {
            "one model": started(scratch / "1.db", runs[0]),
            "with a shadow": started(scratch / "2.db", runs[0], "--shadow", runs[1]),
            "split 50/50": started(scratch / "3.db", *runs, "--split", "50/50"),
        }
        try:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
            for number in range(given.rounds + 1):
                for name, server in servers.items():
                    result = load(server.address, users, given.rate, given.seconds)
                    if number:  # the first round warms up
                        found[name].append(result)
            for name, results in found.items():
                ratios = [
                    np.median(
                        [of[key] / one[key] for of, one in zip(results, found["one model"], strict=True)]
                    )
                    for key in ("p50", "p99")
                ]
                failed = sum(of["failed"] for of in results)
                p50, p99 = (np.median([of[key] for of in results]) for key in ("p50", "p99"))
                print(
                    f"{name}: p50 {p50:.2f} ms ({ratios[0]:.2f} times), p99 {p99:.2f} ms ({ratios[1]:.2f} "
                    f"times), {failed:.0f} failed"
                )
            text = httpx.get(f"{servers['with a shadow'].address}/metrics").text
            print("\n".join(re.findall(r"^twotower_shadow_lists_total.*$", text, re.MULTILINE)))
        finally:
            for server in servers.values():
                server.end()


if __name__ == "__main__":
    main()
