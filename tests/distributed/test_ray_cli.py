"""``--engine ray`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import twotower as tt
from small_tables import write_tables
from twotower.cli import app


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    config = write_tables(folder)
    text = config.read_text(encoding="utf-8").replace("hidden = [8]\n", "")
    text = text.replace('kind = "mlp"', 'kind = "linear"').replace('"squared"', '"all_pairs"')
    config.write_text(text, encoding="utf-8")
    return config


def call(*args: object) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout, result.stderr


def test_train_on_ray_gives_the_metrics_of_one_process(
    cluster: tt.Ray, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ray(address: str | None, workers: int) -> tt.Ray:
        """Return the cluster that is there, as starting workers takes seconds."""
        asked.append((address, workers))
        return cluster

    monkeypatch.setattr("twotower.distributed.Ray", ray)
    plain = call("train", config, "--out", config.parent / "plain", "--json")
    given = ("--json", "--engine", "ray", "--workers", 1)
    code, out, err = call("train", config, "--out", config.parent / "ray", *given)
    assert (code, plain[0]) == (0, 0), err
    assert json.loads(out)["ranking"] == json.loads(plain[1])["ranking"]
    code, out, err = call("evaluate", config.parent / "ray", "--json", "--engine", "ray", "--workers", 1)
    assert (code, json.loads(out)["ranking"]) == (0, json.loads(plain[1])["ranking"]), err
    lists = [
        call("recommend", config.parent / "ray", "--all", "-k", 3, "--out", config.parent / f"{n}.csv", *more)
        for n, more in enumerate([(), ("--engine", "ray", "--workers", 1)])
    ]
    assert [one[0] for one in lists] == [0, 0], lists
    assert asked == [(None, 1)] * 3
    assert (config.parent / "0.csv").read_bytes() == (config.parent / "1.csv").read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--workers", 2), "--address and --workers need --engine ray"),
        (("--address", "auto"), "--address and --workers need --engine ray"),
        (("--engine", "spark"), "must be ray, got 'spark'"),
        (("--engine", "ray", "--workers", 0), "workers must be a whole number from 1, got 0"),
    ],
)
def test_wrong_options_are_one_error(config: Path, given: tuple[object, ...], said: str) -> None:
    code, _, err = call("train", config, "--out", config.parent / "none", *given)
    assert code == 2
    assert said in err
    assert not (config.parent / "none").exists()


def test_only_lists_for_all_use_an_engine(config: Path) -> None:
    code, _, err = call("recommend", config.parent, "--user", 1, "--engine", "ray")
    assert code == 2
    assert "--engine is for --all" in err
