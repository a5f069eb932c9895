"""Several seeds of one config: one split, a run each, their spread, and a comparison by their mean."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twotower import workflows
from twotower.config import Config, load_config
from twotower.errors import ConfigError
from twotower.training import Callback, Interrupted
from twotower.workflows import Run, compare, load_parts, seed_configs, spread, train, train_seeds


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return load_config(folder / "config.toml", ["training.epochs=2"])


@pytest.fixture(scope="module")
def seeds(folder: Path, config: Config) -> dict[str, Any]:
    return train_seeds(config, folder / "seeds", 2)


def content(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_what_is_there(seeds, folder: Path) -> None:
    assert {path.name for path in (folder / "seeds").iterdir()} == {"seed-1", "seed-2", "seeds.json"}
    assert json.loads((folder / "seeds" / "seeds.json").read_text()) == seeds
    assert (seeds["seeds"], seeds["runs"]) == ([1, 2], ["seed-1", "seed-2"])
    runs = [Run(folder / "seeds" / name) for name in seeds["runs"]]
    assert [run.state() for run in runs] == ["finished", "finished"]
    for kind in ("rating", "ranking"):
        for name, found in seeds[kind].items():
            values = [run.metrics()[kind][name]["value"] for run in runs]
            assert found["values"] == values
            assert found["mean"] == pytest.approx(statistics.mean(values))
            assert found["sd"] == pytest.approx(statistics.stdev(values), abs=1e-15)
            assert (found["min"], found["max"]) == (min(values), max(values))
    assert seeds["rating"]["rmse"]["sd"] > 0
    assert seeds["validation"]["rmse"]["values"] == [run.metrics()["validation"]["rmse"] for run in runs]


def test_the_split_is_one_and_the_weights_are_not(seeds, folder: Path, config: Config) -> None:
    first, second = (Run(folder / "seeds" / name).config() for name in seeds["runs"])
    assert (first.seed, second.seed) == (1, 2)
    parts = [load_parts(one) for one in (config, first, second)]
    for name in ("train", "validation", "test"):
        a, b, c = (getattr(of, name).interactions for of in parts)
        assert a.equals(b)
        assert a.equals(c)
    # evaluating a seed's run reads the split that it was trained on
    again = workflows.evaluate(folder / "seeds" / "seed-2")
    assert again["rating"] == Run(folder / "seeds" / "seed-2").metrics()["rating"]


def test_the_first_seed_is_the_config_itself(seeds, folder: Path, config: Config) -> None:
    alone = train(config, folder / "alone")
    assert alone.metrics["rating"] == Run(folder / "seeds" / "seed-1").metrics()["rating"]


def test_resuming_trains_what_is_missing_alone(seeds, folder: Path, config: Config) -> None:
    before = content(folder / "seeds")
    result = train_seeds(config, folder / "seeds", 3, resume=True)
    after = content(folder / "seeds")
    assert {n: after[n] for n in before if n != "seeds.json"} == {
        n: before[n] for n in before if n != "seeds.json"
    }
    assert result["seeds"] == [1, 2, 3]
    for name, found in seeds["rating"].items():
        assert result["rating"][name]["values"][:2] == found["values"]
    assert train_seeds(config, folder / "seeds", 2, resume=True) == seeds


class Stops(Callback):
    """Presses Ctrl-C at the first epoch of the second model."""

    def __init__(self) -> None:
        self.trainings = 0

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        self.trainings += phase == "train"

    def on_epoch_end(self, record) -> None:
        if self.trainings == 2:
            raise KeyboardInterrupt


def test_a_break_is_gone_on_with(seeds, folder: Path, config: Config) -> None:
    out = folder / "broken"
    with pytest.raises(Interrupted, match="continue with --resume"):
        train_seeds(config, out, 2, callbacks=[Stops()])
    assert not (out / "seeds.json").exists()
    assert Run(out / "seed-1").state() == "finished"
    lines: list[str] = []
    result = train_seeds(config, out, 2, resume=True, log=lines.append)
    assert f"{out / 'seed-1'} is already finished" in lines
    for kind in ("rating", "ranking", "validation"):
        assert result[kind] == seeds[kind]


def test_what_is_refused(seeds, folder: Path, config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--seeds must be at least 2, got 1"):
        train_seeds(config, tmp_path / "new", 1)
    with pytest.raises(ConfigError, match="--seeds must be at least 1, got 0"):
        compare(config, seeds=0)
    with pytest.raises(ConfigError, match="contains runs of several seeds; continue with --resume"):
        train_seeds(config, folder / "seeds", 2)
    with pytest.raises(ConfigError, match="no runs to resume"):
        train_seeds(config, tmp_path / "new", 2, resume=True)
    other = load_config(folder / "config.toml", ["training.epochs=2", "model.dim=16"])
    with pytest.raises(ConfigError, match=r"model\.dim: 16, 8"):
        train_seeds(other, folder / "seeds", 2, resume=True)
    with pytest.raises(ConfigError, match=r"contains several runs; .*seed-1, .*seed-2"):
        Run.finished(folder / "seeds")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"contains notes\.txt; choose another"):
        train_seeds(config, tmp_path, 2)
    with pytest.raises(ConfigError, match="is a file"):
        train_seeds(config, tmp_path / "notes.txt", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_split_seed_of_its_own_is_kept(config: Config) -> None:
    split = config.split.model_copy(update={"seed": 9})
    one, two = seed_configs(config.model_copy(update={"split": split}), 2)
    assert (one.seed, two.seed, one.split_seed, two.split_seed) == (1, 2, 9, 9)
    assert seed_configs(config, 1) == [config]


def test_spread_of_what_is_not_defined() -> None:
    found = spread([{"a": 1.0, "b": float("nan")}, {"a": 2.0, "b": 1.0, "c": 0.0}])
    assert set(found) == {"a", "b"}
    assert found["b"] == {"mean": None, "sd": None, "min": None, "max": None, "values": [None, 1.0]}
    assert found["a"]["sd"] == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("ranks", [False, True])
def test_a_comparison_is_by_the_mean_of_the_seeds(folder: Path, monkeypatch, ranks: bool) -> None:
    from twotower.baselines import BASELINES, RANKING_BASELINES

    monkeypatch.setattr("twotower.workflows.comparing.BASELINES", {"mean": BASELINES["mean"]})
    few = {"popularity": RANKING_BASELINES["popularity"]}
    monkeypatch.setattr("twotower.workflows.comparing.RANKING_BASELINES", few)
    settings = ["training.epochs=1", "evaluation.ks=[5]"]
    if ranks:
        settings += ["objective.name=softmax", "positive.quantile=0.5"]
    config = load_config(folder / "config.toml", settings)
    each = [compare(one).as_dict() for one in seed_configs(config, 2)]
    both = compare(config, seeds=2).as_dict()
    baseline, kind = ("popularity", "ndcg@5") if ranks else ("mean", "mae")
    assert "seeds" not in each[0]
    assert both["seeds"]["seeds"] == [1, 2]
    ours = [one["models"]["two-tower"]["metrics"][kind]["value"] for one in each]
    assert ours[0] != ours[1]
    assert both["seeds"]["metrics"][kind]["values"] == pytest.approx(ours)
    assert both["models"]["two-tower"]["metrics"][kind]["value"] == pytest.approx(np.mean(ours))
    theirs = each[0]["models"][baseline]["metrics"][kind]
    assert both["models"][baseline]["metrics"][kind] == theirs
    difference = both["differences"][baseline][kind]
    assert difference["value"] == pytest.approx(theirs["value"] - np.mean(ours))
    assert difference["low"] < difference["value"] < difference["high"]
    rows = both["models"]["two-tower"]["slices"]["item"]["warm"]["metrics"] if not ranks else {}
    if rows:  # slices are means too
        of = [one["models"]["two-tower"]["slices"]["item"]["warm"]["metrics"]["mae"]["value"] for one in each]
        assert rows["mae"]["value"] == pytest.approx(np.mean(of))


def test_on_the_command_line(tmp_path: Path, folder: Path, capsys) -> None:
    from typer.testing import CliRunner

    from twotower.cli import app

    def call(*args: object) -> Any:
        return CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(app, [str(a) for a in args])

    out = tmp_path / "seeds"
    args = ("train", folder / "config.toml", "--set", "training.epochs=1", "--out", out, "--seeds")
    answer = call(*args, 2, "--full")
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.startswith(
        "test set with the seeds 1, 2: the same split, different weights and batches"
    )
    said = " ".join(answer.stderr.split())
    for seed in (1, 2):
        found = json.loads((out / f"seed-{seed}" / "metrics.json").read_text())
        assert f"seed {seed}: {found['popularity']['says']}" in said
    found = json.loads(call(*args, 2, "--resume", "--json").stdout)
    assert found["run"] == str(out)
    assert f"{found['rating']['rmse']['mean']:.4f}" in answer.stdout
    for command in (("evaluate",), ("recommend", "--user", 3), ("similar", "--item", 3)):
        wrong = call(command[0], out, *command[1:])
        assert wrong.exit_code == 2
        assert f"choose one: {out / 'seed-1'}" in wrong.stderr
    assert call(*args, 1).exit_code == 2
