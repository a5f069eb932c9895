"""Forked processes: Polars' threads are not in the child, where its work would wait for ever.

A process that forks after Polars has started its threads (``gunicorn --preload``, the default start method of
``multiprocessing`` on Linux before Python 3.14) leaves the child with the memory of a thread pool and without
its threads. So work there is refused at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from twotower.errors import ForkedProcessError

_THREAD = re.compile(r"polars-\d+$")
_TASKS = Path("/proc/self/task")


class _State:
    """What is known of this process."""

    worked = False
    """Whether it, or one that it was forked from, has worked with Polars."""
    threads = False
    """Whether the process had threads of Polars when it forked."""
    forked = False
    """Whether it is a child without those threads."""


def check_process(*, works: bool = True) -> None:
    """Let work with Polars begin, or with ``works`` false what may lead to it.

    Raises:
        ForkedProcessError: the process was forked after Polars had started its threads.
    """
    if _State.forked:
        raise ForkedProcessError(
            f"process {os.getpid()} was forked after Polars had started its threads, which it lacks, so that "
            "it would wait for ever; load the model after the fork (gunicorn without --preload), or start "
            "processes by 'spawn' or 'forkserver' (multiprocessing.get_context('spawn'))"
        )
    _State.worked = _State.worked or works


def _before() -> None:
    _State.threads = _has_threads()


def _after_in_child() -> None:
    _State.forked = _State.forked or _State.threads


def _has_threads() -> bool:
    try:
        names = [(task / "comm").read_text().strip() for task in _TASKS.iterdir()]
    except OSError:  # not Linux, or a thread that has just ended
        return _State.worked
    return any(_THREAD.match(name) for name in names)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)
