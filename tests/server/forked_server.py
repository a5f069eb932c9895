"""The command line in a process that is forked from one in which everything is imported already.

Importing torch and the rest takes three seconds of a process, and its start is what few tests are about.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection

MODULES = ["twotower.cli", "twotower.server", "twotower.server.app", "uvicorn", "uvloop", "httptools"]


class ForkedProcess:
    """``twotower WORDS`` as `subprocess.Popen` would give it, with a pipe as its stderr."""

    def __init__(self, words: list[str], env: Mapping[str, str]) -> None:
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(MODULES)
        ours, its = forks.Pipe(duplex=False)
        self._process = forks.Process(target=_run, args=(words, dict(env), its))
        self._process.start()
        its.close()
        self.stderr = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait until it has ended, and return its exit code."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it has not ended after {timeout} s"
        return self._process.exitcode


def _run(words: list[str], env: dict[str, str], errors: Connection) -> None:
    os.dup2(errors.fileno(), 2)
    errors.close()
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8")  # a pipe, whatever it was before
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["twotower", *words]
    from twotower.cli import main

    main()
