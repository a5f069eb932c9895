"""The process of a shadow: it reads requests from stdin and writes what it would have answered to stdout.

Lines are JSON objects. The first one says what to serve; the answer to it has the facts of the model. Each
other one is a request for lists, or to reload, or to forget users who were deleted. The end of stdin, also by
the death of the server, ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from twotower.errors import TwoTowerError
from twotower.server import ranking
from twotower.server.errors import ApiError
from twotower.server.logs import log_to_stderr
from twotower.server.queries import with_past
from twotower.server.request_models import RecommendBody
from twotower.server.settings import Limits
from twotower.server.state import State
from twotower.server.state_manager import StateManager
from twotower.server.store import StoreUnavailable, make_store
from twotower.server.user_events import UserEvents
from twotower.server.wanted import wanted
from twotower.server.workers import Deadline

LINE = 64 << 20
"""Most bytes of a line: those of a request's body, with what was answered."""


def facts(state: State) -> dict[str, Any]:
    """Return what a server shows of a shadow's model."""
    return {"model": state.version, "items": len(state.items), "loaded": state.loaded}


async def answer(states: StateManager, events: UserEvents, limits: Limits, asked: dict[str, Any]) -> Any:
    """Return the answer to one line."""
    if asked.get("do") == "reload":
        found = await states.reload()
        assert found is not None  # nothing was queued
        return {"done": [found[0].version, found[1].version]}
    if asked.get("do") == "forget":
        return {"done": await states.forget()}
    start, state = time.perf_counter(), states.state
    body, deadline = RecommendBody.model_validate(asked["body"]), Deadline(limits.work_seconds)
    users = [(f"users.{place}", user) for place, user in enumerate(body.users)]
    queries = await with_past(state, events, users, limits)
    want = wanted(state, body, limits)
    lists = []
    for (one, _), given in zip(ranking.lists(state, queries, want, deadline), asked["answered"], strict=True):
        items = [item["item_id"] for item in one["items"]]
        same, most = len(set(map(str, items)) & set(map(str, given))), max(len(items), len(given))
        overlap = same / most if most else 1.0
        lists.append({"user_id": one["user_id"], "items": items, "same": same, "overlap": overlap})
    return {"lists": lists, "seconds": time.perf_counter() - start}


async def main() -> int:
    """Work until the end of stdin; return the exit code."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def say(value: dict[str, Any]) -> None:
        sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
        sys.stdout.buffer.flush()

    given = orjson.loads(await reader.readline())
    limits = Limits(**given["limits"])
    try:
        store = make_store(given["store"])
        states = StateManager(Path(given["bundle"]), store, limits.load_seconds, given["index"])
        await states.start(without_store=given["without_store"])
    except (TwoTowerError, StoreUnavailable) as error:
        say({"error": str(error)})
        return 2
    say(facts(states.state))
    os.nice(19)  # from here on, whoever answers comes first
    events = UserEvents(store, limits.user_events, serve_without=given["without_store"])
    polling = asyncio.create_task(states.poll())
    try:
        while line := await reader.readline():
            try:
                said = await answer(states, events, limits, orjson.loads(line))
            except (ApiError, TwoTowerError, StoreUnavailable) as error:
                said = {"failed": str(error)}
            except Exception as error:  # the next request may do
                said = {"failed": repr(error)}
            say(said | facts(states.state))
    except BrokenPipeError:  # the server is gone
        pass
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await store.close()
    return 0


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # those of a terminal are for the server
    log_to_stderr("warning")
    sys.exit(asyncio.run(main()))
