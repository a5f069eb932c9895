"""Compile the kernels of a server into NUMBA_CACHE_DIR, so that its first start compiles nothing.

    NUMBA_CACHE_DIR=kernels python deploy/compile_kernels.py

Small models are trained on the packaged data, and answer as a server does before it is ready.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import twotower as tt
from twotower.server.state import State
from twotower.server.warming import warm_up


def main() -> None:
    """Train, ask, and say how many kernels there are."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        sys.exit("NUMBA_CACHE_DIR must be set to the directory for compiled kernels")
    train, _ = tt.split(tt.datasets.load("kuairec-sample"), "random", test=0.9, seed=0)
    for settings in ({"kind": "linear"}, {"kind": "mlp", "hidden": (8,), "epochs": 1}):
        model = tt.TwoTower(dim=8, seed=0, **settings).fit(train)
        warm_up(State.of(model, "compiling"))
    kernels = len(list(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")))
    print(f"{kernels} kernels")


if __name__ == "__main__":
    main()
