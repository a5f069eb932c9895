"""Forked processes: a child lacks Polars' threads, so work there would hang.

A process that forks after Polars has started its threads (``gunicorn --preload``, the default start method of
``multiprocessing`` on Linux before Python 3.14) leaves the child with the memory of a thread pool and without
its threads. So work there raises an error at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from twotower.errors import ForkedProcessError

_THREAD = re.compile(r"polars-\d+$")
_TASKS = Path("/proc/self/task")


class _State:
    """The state of this process."""

    worked = False
    """Whether it, or a process that it was forked from, has used Polars."""
    threads = False
    """Whether it had Polars' threads when it forked."""
    forked = False
    """Whether it is a child without those threads."""


def check_process(*, works: bool = True) -> None:
    """Check that Polars can be used here; with ``works`` false, only that a later use is possible.

    Raises:
        ForkedProcessError: the process was forked after Polars had started its threads.
    """
    if _State.forked:
        raise ForkedProcessError(
            f"process {os.getpid()} was forked after Polars had started its threads; the child lacks them "
            "and would hang. Load the model after the fork (gunicorn without --preload), or start "
            "processes with 'spawn' or 'forkserver' (multiprocessing.get_context('spawn'))"
        )
    _State.worked = _State.worked or works


def _before() -> None:
    _State.threads = _has_threads()


def _after_in_child() -> None:
    _State.forked = _State.forked or _State.threads


def _has_threads() -> bool:
    try:
        names = [(task / "comm").read_text().strip() for task in _TASKS.iterdir()]
    except OSError:  # not Linux, or the thread has just ended
        return _State.worked
    return any(_THREAD.match(name) for name in names)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)
