"""For all tests: few threads, property tests that don't time out, and the data beside the checkout."""

from __future__ import annotations

import functools
import gc
import os
import sys
from pathlib import Path

# Nothing that is imported or collected is garbage; looking for it would double the time of collection.
gc.disable()
# Python and pytest keep what they have compiled, also where the shell forbids it: compiling our sources again
# takes a second of each process that tests start, and the assertions take ten of each run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before anything imports numba or torch. pytest runs in as many processes as there are cores, so libraries
# get one thread each; our own kernels get two, so that what is divided among threads is tested.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
for _name in ("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "2")
# There are more threads than cores then, and one that waits for another must not keep it from its core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest  # noqa: E402
import typer.main  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# A busy machine is no failure; in CI every run sees the same examples.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# The tests call a thousand commands; typer would build all of them again for each call.
pytest.MonkeyPatch().setattr(typer.main, "get_command", functools.cache(typer.main.get_command))

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage again, but not among what is collected."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of data that is not ours to ship, beside the checkout; skip where it is not there."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the data in {path}")
    return path
