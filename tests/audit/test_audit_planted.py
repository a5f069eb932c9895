"""Every planted fault is found by the check that is for it; clean data sets give no alarm."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from planted_faults import PLANTS, Tables, clean
from twotower.audit import Severity, audit
from twotower.config import load_config
from twotower.datasets.synthetic import write_kuairec


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_kuairec(folder, scale=0.005, seed=0)
    return folder


@pytest.fixture(scope="module")
def base(synthetic: Path) -> Tables:
    return clean(synthetic)


def alarms(config: str | Path, *settings: str) -> list[str]:
    found = audit(load_config(config, settings)).findings
    return [f"{f.check}: {f.where}: {f.what}: {f.evidence}" for f in found if f.severity is not Severity.NOTE]


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str, base: Tables, tmp_path: Path) -> None:
    fault, tables = PLANTS[name], base.copy()
    fault.spoil(tables)
    findings = audit(load_config(tables.write(tmp_path))).findings
    told = [f"{f.severity} {f.check}: {f.where}: {f.what}: {f.evidence}: {f.fix}" for f in findings]
    assert any(
        line.startswith(f"{fault.severity} {fault.check}: ") and fault.said in line for line in told
    ), told


def test_every_fault_of_the_notebook_is_planted() -> None:
    assert {fault.fault for fault in PLANTS.values()} == set(range(10))


def test_the_tables_that_faults_are_planted_in_are_clean(base: Tables, tmp_path: Path) -> None:
    assert alarms(base.copy().write(tmp_path)) == []


def test_no_alarm_on_the_packaged_sample() -> None:
    assert alarms("kuairec-sample") == []


def test_positives_of_the_packaged_sample_are_of_short_videos() -> None:
    (found,) = alarms("kuairec-sample-ranking")
    assert found.startswith("duration: label 'watch_ratio' and item column 'video_duration'")
    # and the mend is one
    assert alarms("kuairec-sample-ranking", "positive.threshold=none", "positive.duration_rank=0.8") == []


@pytest.mark.parametrize("seed", [0, 1])
def test_no_alarm_on_a_synthetic_kuairec(seed: int, synthetic: Path, tmp_path: Path) -> None:
    if seed:
        write_kuairec(tmp_path, scale=0.004, seed=seed)
    recipe = "kuairec-ranking" if seed else "kuairec"
    assert alarms(recipe, f"data.dir={tmp_path if seed else synthetic}") == []


@pytest.mark.parametrize("method", ["random", "per_user", "leave_last", "cold_items", "cold_users"])
def test_no_alarm_on_movielens(method: str, shared: Path) -> None:
    folder = shared / "data" / "ml-100k"
    assert alarms("movielens-100k", f"data.dir={folder}", f"split.method={method}") == []


def test_movielens_by_time_is_of_cold_users(shared: Path) -> None:
    folder = shared / "data" / "ml-100k"
    (found,) = alarms("movielens-100k", f"data.dir={folder}", "split.method=temporal")
    assert found.startswith("cold: test set, users: most test rows are of cold users")


def test_seconds_watched_may_follow_the_duration(base: Tables, tmp_path: Path) -> None:
    tables = base.copy()
    for name in ("train", "test"):
        ratio = 0.9 + pl.col("watch_ratio").clip(0, 2) / 10
        tables.change(name, (pl.col("video_duration") * ratio).alias("watch_ratio"))
    tables.features("items", video_duration="number")
    found = alarms(tables.write(tmp_path))
    assert [line for line in found if line.startswith("target") and "duration" in line] == []
