"""Settings of baselines that a run keeps: used again for the same data and split, and for nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from small_tables import write_tables
from twotower import workflows
from twotower.config import Config, load_config
from twotower.errors import ConfigError
from twotower.report import write_report

SETTINGS = ("objective.name=all_pairs", "positive.threshold=3.5", "training.epochs=1")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(write_tables(tmp_path_factory.mktemp("tuned")), SETTINGS)


@pytest.fixture(scope="module")
def compared(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Return a run whose baselines were tuned, and the comparison that tuned them."""
    run = tmp_path_factory.mktemp("runs") / "run"
    workflows.train(config, run)
    return run, workflows.compare_run(run)[1].as_dict()


def without_time(found: dict[str, object]) -> dict[str, object]:
    return {name: of for name, of in found.items() if name != "seconds"}


def test_a_second_comparison_tunes_nothing_and_says_the_same(
    compared: tuple[Path, dict[str, object]],
) -> None:
    run, first = compared
    lines: list[str] = []
    again = workflows.compare_run(run, log=lines.append)[1].as_dict()
    assert not any(line.endswith(": tuning") for line in lines)
    assert "EASE (5 of 7): fitting with the settings tuned before" in lines
    assert without_time(again) == without_time(first)


def test_the_report_takes_all_that_are_known(
    compared: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    run, first = compared
    lines: list[str] = []
    found = write_report(run, tmp_path / "report.html", log=lines.append).as_dict()
    assert found["compared"]["models"].keys() == first["models"].keys()  # type: ignore[attr-defined]
    assert not any(line.endswith(": tuning") for line in lines)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda text: text.replace('"key": "', '"key": "0'),
            "were tuned on other data, another split or by an",
        ),
        (lambda text: text[:40], "can't be read and are tuned again"),
        (lambda text: text.replace('"l2"', '"l3"'), "it has changed since it was written"),
        (lambda text: re.sub(r'"l2": [0-9.]+', '"l2": 1e300', text), "it has changed since it was written"),
        (lambda text: text.replace('"given": "grades"', '"given": "no grades"'), "it has changed since it w"),
        (lambda _: "[]", "it is not such a file"),
        (lambda _: '{"sha256": "", "tuned": []}', "it has changed since it was written"),
        (lambda _: "[" * 100_000, "it is not such a file"),
    ],
)
def test_what_is_stale_or_damaged_is_not_used(
    compared: tuple[Path, dict[str, object]], damage: object, said: str
) -> None:
    run, first = compared
    file = run / "baselines.json"
    before = file.read_text()
    damaged = damage(before)  # type: ignore[operator]
    assert damaged != before
    file.write_text(damaged)
    lines: list[str] = []
    config = workflows.Run(run).config()
    parts = workflows.load_parts(config)
    tuned = workflows.TunedSettings.of(file, config, parts, lines.append)
    assert tuned.choices == {}
    assert len(lines) == 1
    assert said in lines[0]
    assert "tuned again" in lines[0]
    again = workflows.compare_rankers(
        config, workflows.Run(run).recommender(), parts, baselines=["popularity"], tuned=tuned
    )
    assert again.as_dict()["settings"]["popularity"] == first["settings"]["popularity"]  # type: ignore[index]
    assert list(json.loads(file.read_text())["tuned"]) == ["popularity"]
    file.write_text(before)


def test_other_settings_that_tuning_reads_are_another_key(config: Config, tmp_path: Path) -> None:
    keys = set()
    for override in ("seed=1", "seed=2", "positive.threshold=3", "objective.min_grade=0.5", "split.test=0.2"):
        changed = load_config(
            config.data.interactions.replace("events.csv", "config.toml"), (*SETTINGS, override)
        )  # type: ignore[union-attr]
        parts = workflows.load_parts(changed)
        keys.add(workflows.TunedSettings.of(tmp_path / "none.json", changed, parts, print).key)
    assert len(keys) == 5


@pytest.mark.parametrize("command", ["report", "train", "recommend"])
def test_out_is_checked_before_any_work(
    command: str,
    compared: tuple[Path, dict[str, object]],
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _ = compared

    def no_work(*args: object, **more: object) -> None:
        raise AssertionError("worked before --out was checked")

    monkeypatch.setattr("twotower.workflows.training.load_parts", no_work)
    monkeypatch.setattr("twotower.report.writing.load_parts", no_work)
    monkeypatch.setattr("twotower.Recommender.recommend_all", no_work)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    work = {
        "report": lambda: write_report(run, tmp_path / "report.html"),
        "train": lambda: workflows.train(config, tmp_path / "new" / "run"),
        "recommend": lambda: workflows.recommend_all(workflows.Run(run).recommender(), tmp_path / "all.csv"),
    }
    with pytest.raises(ConfigError, match="that you may write to"):
        work[command]()
