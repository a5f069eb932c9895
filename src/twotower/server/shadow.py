"""`Shadow`: a model that is asked what other models were asked, logged, and never answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from twotower.errors import BundleError
from twotower.server.errors import ApiError
from twotower.server.metrics import Metrics
from twotower.server.request_models import RecommendBody, UserQuery
from twotower.server.settings import Settings
from twotower.server.shadow_process import LINE
from twotower.server.wanted import Wanted

log = logging.getLogger("twotower.server")

WAITING = 256
"""Lists that wait; further ones are dropped and counted."""
RESTART_SECONDS = 5.0
"""After which a process that ended is started again."""
PROCESS = ("-m", "twotower.server.shadow_process")
"""What Python runs."""
_END_SECONDS = 5.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@dataclass(frozen=True, eq=False)
class ShadowRequest:
    """Users of a request, and what they were answered.

    Attributes:
        request_id: of the request.
        users: queries as they were given.
        want: the choice of items that was made for them.
        answered: ids of the items of each list.
        body: the request's own choice of items; None for that of the path.
    """

    request_id: str
    users: Sequence[Any]
    want: Wanted
    answered: Sequence[Sequence[Any]]
    body: RecommendBody | None = None

    def line(self) -> bytes:
        """Return it as `shadow_process` reads it."""
        given = {} if self.body is None else self.body.model_dump(exclude={"users"}, exclude_none=True)
        users = [
            user.model_dump(exclude_none=True) if isinstance(user, UserQuery) else user for user in self.users
        ]
        given |= {"users": users, "k": self.want.k, "exclude_seen": self.want.exclude_seen, "explain": 0}
        return orjson.dumps({"body": given, "answered": self.answered}) + b"\n"


@dataclass(frozen=True, eq=False)
class Command:
    """Something else that the process is told: ``reload`` or ``forget``, and what waits for its answer."""

    name: str
    done: asyncio.Future[Any]

    def line(self) -> bytes:
        """Return it as `shadow_process` reads it."""
        return orjson.dumps({"do": self.name}) + b"\n"


class Shadow:
    """Asks a model in a process of its own, of the lowest priority.

    An answer never waits for it. What is asked waits in a queue of `WAITING` lists; when it is full, new ones
    are dropped. A process that ended is started again.

    Attributes:
        run: name of the model.
        bundle: its directory.
        facts: its version (``model``), number of ``items`` and when it was ``loaded``, as of its last answer.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        assert settings.shadow is not None
        ((self.run, self.bundle),) = settings.shadow.items()
        self._settings, self._metrics = settings, metrics
        self.facts: dict[str, Any] = {}
        self._queue: asyncio.Queue[ShadowRequest | Command] = asyncio.Queue()
        self._asked: deque[ShadowRequest | Command] = deque()  # sent, and not answered yet
        self._waiting = 0  # lists in both
        self._idle = asyncio.Event()
        self._idle.set()
        self._reloading = False
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, and wait until its model is loaded.

        Raises:
            BundleError: the bundle, or the store, can't be read.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, *PROCESS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
            limit=LINE,
        )
        settings = self._settings
        given = {
            "bundle": str(self.bundle),
            "store": settings.store,
            "index": settings.index,
            "limits": asdict(settings.limits),
            "without_store": settings.without_store == "serve",
        }
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(orjson.dumps(given) + b"\n")
        line = await process.stdout.readline()
        said = orjson.loads(line) if line else {"error": "its process ended"}
        if "error" in said:
            raise BundleError(f"the shadow {self.run} can't be started: {said['error']}")
        self.facts = said

    def offer(self, request: ShadowRequest) -> None:
        """Ask the same of the shadow, later; or drop it."""
        if self._waiting + len(request.users) > WAITING:
            self._metrics.shadow(self.run, "dropped", len(request.users))
            return
        self._waiting += len(request.users)
        self._idle.clear()
        self._queue.put_nowait(request)

    async def idle(self) -> None:
        """Wait until nothing waits or is being asked."""
        await self._idle.wait()

    async def reload(self) -> tuple[str, str]:
        """Load the bundle again; return the earlier version and the new one.

        Raises:
            BundleError: it can't be served; the earlier one goes on.
            ApiError: a reload is in progress.
        """
        if self._reloading:
            raise ApiError(409, "a reload is in progress; wait for it to finish")
        self._reloading = True
        try:
            earlier, fresh = await self._command("reload")
        finally:
            self._reloading = False
        return earlier, fresh

    async def forget(self) -> str:
        """Leave out users who were deleted, also in the bundle; return why that was not done, if so."""
        try:
            return str(await self._command("forget"))
        except BundleError as error:
            return str(error)

    async def _command(self, name: str) -> Any:
        if self._process is None:
            raise BundleError(f"the shadow {self.run} is being started again; try again in a moment")
        command = Command(name, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(command)
        try:
            async with asyncio.timeout(self._settings.limits.load_seconds):
                return await command.done
        except TimeoutError:
            raise BundleError(f"the shadow {self.run} does not respond") from None

    async def work(self) -> None:
        """Send what waits and read answers, until cancelled; start the process again where it ended."""
        try:
            while True:
                try:
                    if self._process is None:
                        await self.start()
                    await self._talk()
                    reason = "its process ended"
                except (BundleError, OSError, ValueError) as error:
                    reason = str(error)
                await self._end()
                log.error(
                    "the shadow is started again", extra={"fields": {"run": self.run, "reason": reason}}
                )
                while self._asked:
                    self._done(self._asked.popleft(), {"failed": reason})
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            await self._end()

    async def _talk(self) -> None:
        """Send and read until the process ends."""
        assert self._process is not None
        assert self._process.stdout is not None
        sending = asyncio.create_task(self._send(self._process))
        try:
            while line := await self._process.stdout.readline():
                said = orjson.loads(line)
                self.facts = {name: said.pop(name) for name in ("model", "items", "loaded")}
                self._done(self._asked.popleft(), said)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        while True:
            request = await self._queue.get()
            self._asked.append(request)
            process.stdin.write(request.line())
            await process.stdin.drain()

    def _done(self, request: ShadowRequest | Command, said: dict[str, Any]) -> None:
        """Log and count an answer."""
        if isinstance(request, Command):
            if "failed" in said and not request.done.done():
                request.done.set_exception(BundleError(said["failed"]))
            elif not request.done.done():  # somebody still waits
                request.done.set_result(said["done"])
            return
        self._waiting -= len(request.users)
        fields = {"request_id": request.request_id, "run": self.run, "model": self.facts.get("model")}
        if "failed" in said:
            self._metrics.shadow(self.run, "failed", len(request.users))
            log.warning("shadow failed", extra={"fields": fields | {"reason": said["failed"]}})
        else:
            each = said["seconds"] / len(said["lists"])
            for one in said["lists"]:
                self._metrics.shadow(self.run, "answered", 1, each, one.pop("overlap"))
                log.info("shadow", extra={"fields": fields | one | {"ms": round(each * 1e3, 3)}})
        if not self._waiting:
            self._idle.set()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # it ends by itself
        with contextlib.suppress(ProcessLookupError):
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
