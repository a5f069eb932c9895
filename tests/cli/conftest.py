"""A small data set, a run trained on it through the command line, and a way to call a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from small_tables import write_tables
from twotower.cli import app


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON object alone."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Call = Callable[..., Answer]


@pytest.fixture(scope="session")
def call() -> Call:
    def call(*args: object) -> Answer:
        result = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(
            app, [str(a) for a in args], prog_name="twotower"
        )
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tables and their config.toml."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return folder


@pytest.fixture(scope="session")
def trained(tables: Path, call: Call) -> Answer:
    """Return what training said; the run is in tables / "run"."""
    return call("train", tables / "config.toml", "--out", tables / "run", "--json")


@pytest.fixture(scope="session")
def run(tables: Path, trained: Answer) -> Path:
    assert trained.code == 0, trained.err
    return tables / "run"
