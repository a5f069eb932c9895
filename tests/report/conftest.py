"""Two healthy runs, one that predicts and one that ranks, measured once."""

from __future__ import annotations

from pathlib import Path

import pytest
from taste_tables import RANKING, write_tastes

pytest.importorskip("vl_convert", reason="needs the extra report")

from twotower.config import load_config
from twotower.report import Case
from twotower.workflows import Run, load_parts, train


@pytest.fixture(scope="session")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tables, with their config and both runs."""
    folder = tmp_path_factory.mktemp("tastes")
    path = write_tastes(folder)
    train(load_config(path), folder / "rated")
    train(load_config(path, RANKING), folder / "ranked")
    return folder


def case_of(run: Run) -> Case:
    config = run.config()
    return Case.of(config, run.recommender(), load_parts(config), run.metrics())


@pytest.fixture(scope="session")
def rated(tastes: Path) -> Case:
    return case_of(Run(tastes / "rated"))


@pytest.fixture(scope="session")
def ranked(tastes: Path) -> Case:
    return case_of(Run(tastes / "ranked"))
