"""Small tables with a config, for the tests of workflows."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_tables import write_tables
from twotower.config import Config, load_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tables")
    write_tables(made)
    return made


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return load_config(folder / "config.toml")
