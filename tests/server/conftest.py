"""Servers of a small model: in this process and in one of their own."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from small_server import ADMIN, HERE, ServerProcess, fitted, run_of

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("httpx", reason="needs httpx to ask the server")

from starlette.testclient import TestClient

from twotower.recommender import Recommender
from twotower.server import Settings, create_app
from twotower.server.logs import LOGGER


@pytest.fixture(scope="session")
def model() -> Recommender:
    return fitted()


@pytest.fixture(scope="session")
def other_model() -> Recommender:
    return fitted(seed=1)


@pytest.fixture
def bundle(model: Recommender, tmp_path: Path) -> Path:
    model.save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def serving(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Give a function that starts a server in this process, of the same store each time."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            tokens = {"token", "tokens", "token_file"} & set(settings)
            here = HERE | {"store": str(tmp_path / "events.db"), "open": not tokens}
            given = {"bundle": bundle, "admin_token": ADMIN} | here | settings
            client = TestClient(create_app(Settings(**given)), raise_server_exceptions=False)
            return stack.enter_context(client)

        yield start


@pytest.fixture(scope="session")
def asked(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Give one server for all tests that change nothing."""
    folder = tmp_path_factory.mktemp("asked")
    model.save(folder / "bundle")
    settings = Settings(bundle=folder / "bundle", store=str(folder / "events.db"), **HERE)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    return serving()


@pytest.fixture
def server(model: Recommender, tmp_path: Path) -> Iterator[ServerProcess]:
    settings = {"TWOTOWER_ADMIN_TOKEN": ADMIN, "TWOTOWER_LIMITS": "drain_seconds=0.05"}
    process = ServerProcess(run_of(model, tmp_path / "run"), started=True, **settings)
    yield process
    process.stop(signal.SIGKILL)


@pytest.fixture
def signals_and_logs() -> Iterator[None]:
    """Put back what a server in this process would leave changed."""
    loggers = [logging.getLogger(name) for name in (LOGGER, "uvicorn", "asyncio")]
    kept = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for one, its, level, propagate in kept:
        one.handlers[:], one.level, one.propagate = its, level, propagate
