"""`Link`: a worker's connection to the supervisor, through which all workers act as one server."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twotower.errors import BundleError, ConfigError, TwoTowerError
from twotower.server.errors import ApiError
from twotower.server.store import StoreUnavailable

if TYPE_CHECKING:
    from twotower.server.service import Service
    from twotower.server.state import State

log = logging.getLogger("twotower.server")


class Link:
    """Asks the supervisor, and does what it tells all workers.

    A reload has two steps: every worker loads the bundles, and only if all have done so, all serve them.

    Args:
        connection: to the supervisor. What comes over it was sent by our own process.
        service: of this worker.
    """

    def __init__(self, connection: Connection, service: Service) -> None:
        self._connection, self._service = connection, service
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._prepared: dict[str, State] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Say that this worker answers requests, and listen to the supervisor."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._read)
        self._send("ready")

    async def reload(self, run: str | None) -> dict[str, dict[str, str]]:
        """Reload all workers; return the earlier version and the new one of each model.

        Raises:
            BundleError: a worker refused; all go on as before.
            ApiError: a reload is under way, or the supervisor is gone.
        """
        answer = await self._ask("reload", run)
        if isinstance(answer, str):
            raise BundleError(answer)
        if answer is None:
            raise ApiError(409, "a reload is in progress; wait for it to finish")
        found: dict[str, dict[str, str]] = answer
        return found

    async def metrics(self) -> list[str]:
        """Return the metrics of every worker.

        Raises:
            ApiError: the supervisor is gone.
        """
        found: list[str] = await self._ask("metrics", None)
        return found

    async def _ask(self, what: str, value: Any) -> Any:
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._send("ask", number, what, value)
        return await future

    def _send(self, *message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise ApiError(503, "the server is ending", headers={"retry-after": "1"}) from None

    def _read(self) -> None:
        try:
            while self._connection.poll():
                self._took(*self._connection.recv())
        except (EOFError, OSError):  # the supervisor is gone, and with it who would start us again
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            log.error("the supervisor is gone; this worker ends")
            os.kill(os.getpid(), signal.SIGTERM)

    def _took(self, what: str, number: int, value: Any) -> None:
        if what == "result":
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                future.set_result(value)
            return
        work: dict[str, Callable[[Any], Any]] = {
            "prepare": self._prepare,
            "take": self._take,
            "drop": self._drop,
            "forget": self._forget,
            "metrics": self._own_metrics,
            "tokens": self._tokens,
        }
        task = asyncio.get_running_loop().create_task(self._answer(number, work[what], value))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, work: Callable[[Any], Any], value: Any) -> None:
        try:
            answer, right = await work(value), True
        except (TwoTowerError, ApiError, StoreUnavailable) as error:
            answer, right = str(error), False
        except Exception as error:  # the supervisor waits for every answer
            log.error("internal error", exc_info=error)
            answer, right = f"internal error: {type(error).__name__}", False
        self._send("answer", number, right, answer)

    async def _prepare(self, copies: dict[str, str]) -> None:
        self._prepared = {
            run: await self._service.models[run].states.prepare(Path(copy)) for run, copy in copies.items()
        }

    async def _take(self, copies: dict[str, str]) -> dict[str, dict[str, str]]:
        done = {}
        for run in copies:
            earlier, fresh = await self._service.models[run].states.take(self._prepared.pop(run))
            self._service.metrics.reloads.labels(run, "done").inc()
            done[run] = {"model": fresh.version, "previous": earlier.version}
        return done

    async def _drop(self, value: object) -> None:
        del value
        for run in self._prepared:
            self._service.metrics.reloads.labels(run, "refused").inc()
        self._prepared = {}

    async def _forget(self, value: object) -> bool:
        """Delete users from the bundles on disk; return whether these had any."""
        del value
        before = [await model.states.pending() for model in self._service.models]
        for model in self._service.models:
            await model.states.forget()
        return before != [await model.states.pending() for model in self._service.models]

    async def _tokens(self, value: object) -> None:
        del value
        try:
            self._service.access.load()
        except ConfigError as error:
            log.error("tokens refused, the old ones are kept", extra={"fields": {"reason": str(error)}})

    async def _own_metrics(self, value: object) -> str:
        del value
        return self._service.metrics_text().decode()
