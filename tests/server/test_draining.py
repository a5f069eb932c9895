"""A signal that comes before the server answers ends it."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from twotower.server import Settings
from twotower.server.serving import serve_on


@pytest.mark.usefixtures("signals_and_logs")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_models_are_loaded_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    steps = []

    @asynccontextmanager
    async def loading(app: FastAPI) -> AsyncIterator[None]:
        signal.raise_signal(number)
        yield
        steps.append("closed")

    app = FastAPI(lifespan=loading)
    app.state.service = SimpleNamespace(leave=lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as place:
        serve_on(
            app, Settings(bundle=tmp_path, store="events.db"), place, "error", lambda: steps.append("started")
        )
    assert steps == ["closed"]
