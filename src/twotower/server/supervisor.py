"""`Supervisor`: several worker processes that act as one server.

    python -m twotower.server.supervisor FD

It is a small process: it holds the listening sockets and the copies of the bundles, starts the workers,
starts them again if they die, and passes on what they ask of each other. `twotower serve --workers` turns
into it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from twotower.errors import BundleError, TwoTowerError
from twotower.server.logs import log_to_stderr
from twotower.server.plan import Plan
from twotower.server.sharing import SharedCopies
from twotower.server.sockets import address_of, listening

log = logging.getLogger("twotower.server")

LEAST_SECONDS: Final = 1.0
"""Least time from one start of a worker to the next in its place."""
_MARGIN: Final = 10.0
"""Seconds beyond its own limits after which a worker that was told to end is killed."""


@dataclass(eq=False)
class _Worker:
    slot: int
    process: BaseProcess
    connection: Connection
    begun: float
    used: dict[str, Path]  # copies of the bundles that it serves
    ready: bool = False
    ending: bool = False
    stale: bool = False  # it serves others than the rest, and is replaced


@dataclass
class _Round:
    """A question that all workers answer.

    Attributes:
        number: of the round.
        what: the question.
        waiting: slots of the workers that did not answer yet.
        until: when it ends without them.
        taken: copies of bundles that who answers serves then.
        done: told the reason of the first that refused ("" if none did), and the answers of the others.
    """

    number: int
    what: str
    waiting: set[int]
    until: float
    done: Callable[[str, list[Any]], None]
    taken: dict[str, Path] = field(default_factory=dict)
    refused: str = ""
    answers: list[Any] = field(default_factory=list)


class Supervisor:
    """Starts workers and lets them act as one; `run` returns when all have ended.

    Args:
        plan: how to serve.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.copies = plan, SharedCopies()
        self._spawn = multiprocessing.get_context("spawn")  # a fork would lack the threads of Polars
        self._used = self.copies.copies(plan.settings.bundles)
        self._sockets = listening(plan.host, plan.port, plan.workers)
        self._workers: list[_Worker] = []
        self._rounds: dict[int, _Round] = {}
        self._numbers = itertools.count(1)
        self._reloading, self._queued = False, False
        self._restarts: deque[_Worker] = deque()
        self._next: _Worker | None = None  # the one that takes the place of the first of these
        self._due: dict[int, float] = {}  # slot -> when a worker is started there again
        self._ending = 0.0
        self._started = False
        self._wake, self._woken = os.pipe()

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, and return the exit code."""
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        asked: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, lambda number, frame: asked.append(number))
        try:
            for slot in range(self.plan.workers):
                self._begin(slot)
            while self._workers or (self._due and not self._ending):
                self._wait()
                while asked:
                    self._signalled(asked.pop(0))
                if not self._started and any(not one.process.is_alive() for one in self._workers):
                    log.error("a worker can't be started; see above")
                    self._end()
                    self._drain_all()
                    return 1
            return 0
        finally:
            for worker in self._workers:
                worker.process.kill()
            self.copies.close()

    def _begin(self, slot: int) -> _Worker:
        from twotower.server.worker import work  # noqa: PLC0415  (imports nothing that is large)

        ours, theirs = self._spawn.Pipe()
        used = {run: str(path) for run, path in self._used.items()}
        given = (self.plan.settings, self._sockets[slot], self.plan.log_level, theirs, used)
        process = self._spawn.Process(target=work, args=given, name=f"worker {slot}")
        process.start()
        theirs.close()
        worker = _Worker(slot, process, ours, time.monotonic(), dict(self._used))
        self._workers.append(worker)
        self._due.pop(slot, None)
        return worker

    def _wait(self) -> None:
        watched: dict[Any, _Worker | None] = {self._wake: None}
        for worker in self._workers:
            watched[worker.connection] = worker
            watched[worker.process.sentinel] = worker
        now = time.monotonic()
        moments = [one.until for one in self._rounds.values()] + list(self._due.values())
        moments += [self._ending] if self._ending else []
        timeout = max(0.0, min(moments, default=now + 60.0) - now)
        for found in wait(list(watched), timeout):
            of = watched[found]
            if of is None:
                os.read(self._wake, 512)
            elif of in self._workers:
                self._read(of)
        now = time.monotonic()
        for round_ in [one for one in self._rounds.values() if one.until <= now]:
            round_.refused = round_.refused or "a worker did not answer in time"
            self._finish(round_)
        for slot in [slot for slot, at in self._due.items() if at <= now and not self._ending]:
            self._begin(slot)
        if self._ending and self._ending <= now:
            for worker in self._workers:
                worker.process.kill()

    def _read(self, worker: _Worker) -> None:
        with contextlib.suppress(EOFError, OSError):
            while worker.connection.poll():
                self._took(worker, *worker.connection.recv())
        if not worker.process.is_alive():
            self._ended(worker)

    def _took(self, worker: _Worker, what: str, *rest: Any) -> None:
        if what == "ready":
            self._ready(worker)
        elif what == "ask":
            number, question, value = rest

            def answer(value: Any) -> None:
                self._send(worker, ("result", number, value))

            if question == "metrics":
                self._round("metrics", None, lambda refused, texts: answer(texts))
            else:
                self._reload(value, answer)
        elif what == "answer":
            number, right, value = rest
            round_ = self._rounds.get(number)
            if round_ is not None and worker.slot in round_.waiting:
                round_.waiting.discard(worker.slot)
                if right:
                    round_.answers.append(value)
                    worker.used |= round_.taken
                else:
                    round_.refused = round_.refused or value
                if not round_.waiting:
                    self._finish(round_)

    def _ready(self, worker: _Worker) -> None:
        worker.ready = True
        if not self._started and all(one.ready for one in self._workers):
            self._started = True
            said = self.plan.said.replace("{}", address_of(self._sockets[0]))
            print(said, file=sys.stderr, flush=True)
            self._forget()
        if worker is self._next:
            self._next = None
            if self._restarts[0] in self._workers:
                self._leave(self._restarts.popleft())
            else:  # it had ended by itself
                self._restart()

    def _round(self, what: str, value: Any, done: Callable[[str, list[Any]], None]) -> None:
        able = [one for one in self._workers if one.ready and not (one.ending or one.stale)]
        asked = {one.slot: one for one in (able[:1] if what == "forget" else able)}
        seconds = self.plan.settings.limits.load_seconds if what in ("prepare", "forget") else 30.0
        round_ = _Round(next(self._numbers), what, set(asked), time.monotonic() + seconds, done)
        if what == "take":
            round_.taken = {run: Path(copy) for run, copy in value.items()}
        self._rounds[round_.number] = round_
        for worker in asked.values():
            self._send(worker, (what, round_.number, value))
        if not asked:
            self._finish(round_)

    def _finish(self, round_: _Round) -> None:
        if self._rounds.pop(round_.number, None) is not None:
            round_.done(round_.refused, round_.answers)

    def _send(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # it has ended, and is started again
            worker.connection.send(message)

    def _reload(self, run: str | None, answer: Callable[[Any], None]) -> None:
        """Let all workers load bundles, and serve them once all have; answer None if that is under way."""
        if self._reloading:
            answer(None)
            return
        bundles = self.plan.settings.bundles
        try:
            fresh = self.copies.copies({name: of for name, of in bundles.items() if run in (None, name)})
        except BundleError as error:
            log.error("bundle refused", extra={"fields": {"reason": str(error)}})
            answer(str(error))
            return
        self._reloading = True
        given = {name: str(path) for name, path in fresh.items()}

        def prepared(refused: str, answers: list[Any]) -> None:
            if not refused:
                self._round("take", given, taken)
                return
            log.error("bundle refused", extra={"fields": {"reason": refused}})
            self._round("drop", None, lambda refused, answers: None)
            over(refused)

        def taken(refused: str, answers: list[Any]) -> None:
            if answers or not refused:  # else nobody serves them
                self._used |= fresh
            over(refused or next(iter(answers), "all workers ended while the bundles were swapped"))

        def over(result: Any) -> None:
            self._reloading = False
            self._replace_stale()
            self.copies.keep(self._used)
            answer(result)
            if self._queued:
                self._queued = False
                self._reload(None, lambda value: None)
            elif isinstance(result, dict):
                self._forget()

        self._round("prepare", given, prepared)

    def _forget(self) -> None:
        """Let one worker delete users who were deleted from the store from the bundles on disk; if these had
        some, so have the copies, which are made anew."""

        def done(refused: str, answers: list[Any]) -> None:
            if answers == [True]:
                self._load_again()

        self._round("forget", None, done)

    def _load_again(self) -> None:
        if self._reloading:
            self._queued = True
        else:
            self._reload(None, lambda value: None)

    def _replace_stale(self) -> None:
        """End workers that began during a reload, or failed in it: they serve other bundles than the rest."""
        for worker in self._workers:
            if worker.used != self._used and not (worker.ending or worker.stale):
                worker.stale = True
                (worker.process.terminate if worker.ready else worker.process.kill)()

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._round("tokens", None, lambda refused, answers: None)
            self._load_again()
        elif number == signal.SIGUSR2:
            if not self._restarts:
                self._restarts.extend(self._workers)
                self._restart()
        elif self._ending:
            for worker in self._workers:  # told again: at once
                worker.process.kill()
        else:
            self._end()

    def _restart(self) -> None:
        """Start a worker in the place of the next old one, which then ends; see `_took`."""
        while self._restarts and self._restarts[0] not in self._workers:
            self._restarts.popleft()
        if self._restarts and not self._ending:
            self._next = self._begin(self._restarts[0].slot)

    def _leave(self, worker: _Worker) -> None:
        worker.ending = True
        worker.process.terminate()

    def _end(self) -> None:
        limits = self.plan.settings.limits
        self._ending = time.monotonic() + limits.drain_seconds + limits.last_seconds + _MARGIN
        for worker in self._workers:
            self._leave(worker)

    def _drain_all(self) -> None:
        while self._workers:
            self._wait()

    def _count_out(self, worker: _Worker) -> None:
        """Wait no longer for the answers of a worker that ended."""
        for round_ in list(self._rounds.values()):
            alive = any(one.slot == worker.slot and one.ready for one in self._workers)
            if worker.slot in round_.waiting and not alive:
                round_.waiting.discard(worker.slot)
                if round_.what == "prepare":
                    round_.refused = round_.refused or "a worker ended"
                if not round_.waiting:
                    self._finish(round_)

    def _ended(self, worker: _Worker) -> None:
        worker.process.join()
        self._workers.remove(worker)
        worker.connection.close()
        self._count_out(worker)
        if worker.ending or self._ending:
            if worker.ending and not self._ending:
                log.info("worker replaced", extra={"fields": {"worker": worker.slot}})
                self._restart()
            return
        fields = {"worker": worker.slot, "code": worker.process.exitcode}
        if self._next is worker:
            old, self._next = self._restarts[0] in self._workers, None
            if worker.used != self._used:  # its bundles were replaced meanwhile
                self._restart()
            else:
                log.error("a new worker did not start; the old ones go on", extra={"fields": fields})
                self._restarts.clear()
            if old:
                return
        elif self._next is not None and self._restarts[0] is worker:
            return  # another one takes its place already
        if worker.stale:
            log.info("a worker loads the bundles of the others", extra={"fields": fields})
        else:
            log.error("a worker ended and is started again", extra={"fields": fields})
        if self._started:
            self._due[worker.slot] = max(time.monotonic(), worker.begun + LEAST_SECONDS)


def main() -> int:
    """Read the plan that `become` wrote, and serve."""
    with os.fdopen(int(sys.argv[1]), "rb") as given:
        plan = pickle.loads(given.read())  # our own process wrote it, before it became this one
    log_to_stderr(plan.log_level)
    try:
        return Supervisor(plan).run()
    except TwoTowerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
