"""``twotower tune``: stdout, stderr and the progress bar."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from twotower.cli.tuned import print_tuned, verdict
from twotower.cli.tuning_progress import TrialBar, TrialLines, tuning_progress
from twotower.evaluation.validator import NDCG
from twotower.training.progress_bars import epoch_progress
from twotower.workflows.tuning import Budget, Trial


@pytest.fixture(scope="module")
def tuned(call, tables: Path):
    return call("tune", tables / "config.toml", "--out", tables / "tuned", "--trials", 3, "--json")


def test_tune_says_json_on_stdout_and_the_rest_on_stderr(tuned, tables: Path) -> None:
    assert tuned.code == 0, tuned.err
    assert tuned.json["tune"] == str(tables / "tuned")
    assert {k: v for k, v in tuned.json.items() if k != "tune"} == json.loads(
        (tables / "tuned" / "tune.json").read_text()
    )
    lines = tuned.err.splitlines()
    assert (
        "tune: searching for the lowest rmse on the validation set, at most 3 trials; trial 0 is your config"
        in lines
    )
    trials = [line for line in lines if line.startswith(("tune 1/3: ", "tune 2/3: ", "tune 3/3: "))]
    numbers = [line.split(": ")[1].split()[:2] for line in trials]
    assert numbers == [["trial", "0"], ["trial", "1"], ["trial", "2"]]
    assert (
        f"; best {tuned.json['best']['validation']:.4f}, trial {tuned.json['best']['trial']}; dim "
        in trials[2]
    )
    assert "tune: finished after 3 trials" in lines
    assert any(line.startswith("refit epoch") for line in lines)


def test_tune_prints_what_it_found(call, tables: Path, tuned) -> None:
    answer = call("tune", tables / "config.toml", "--out", tables / "tuned", "--trials", 3, "--resume")
    assert answer.code == 0
    found = tuned.json
    assert answer.out.startswith("3 trials (0 stopped early) in ")
    assert f"{found['given']['validation']:.4f}" in answer.out
    assert f"Test set, {'best' if found['test']['best'] else 'original'} config. " in answer.out
    assert answer.out.rstrip().endswith(verdict(found))
    assert "\x1b" not in answer.out


def test_the_best_config_trains(call, tables: Path, tuned, tmp_path: Path) -> None:
    answer = call("train", tables / "tuned" / "best.toml", "--out", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    name = "given" if tuned.json["stands"] else "best"
    assert answer.json["rating"]["rmse"] == tuned.json["test"][name]


def test_show_space_is_a_space(call, tables: Path, tmp_path: Path) -> None:
    answer = call("tune", tables / "config.toml", "--show-space")
    assert answer.code == 0, answer.err
    assert tomllib.loads(answer.out)["training"]["learning_rate"] == {"low": 0.001, "high": 0.03, "log": True}
    (tmp_path / "space.toml").write_text(answer.out)
    again = call("tune", tables / "config.toml", "--show-space", "--space", tmp_path / "space.toml")
    assert again.out == answer.out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "tune needs --out DIR"),
        (("--trials", 0), "--trials must be at least 1, got 0"),
        (("--minutes", -2), "--minutes must be more than 0, got -2"),
        (("--space", "nowhere.toml"), "could not read the space nowhere.toml"),
        (("--resume",), "there is no tuning to resume"),
        (("--set", "model.dimm=3"), "Did you mean 'dim'"),
    ],
)
def test_what_is_refused(call, tables: Path, tmp_path: Path, args, says: str) -> None:
    out = ["--out", tmp_path / "new"] if args else []
    answer = call("tune", tables / "config.toml", *out, *args)
    assert answer.code == 2
    assert says in answer.err
    assert answer.out == ""
    assert not (tmp_path / "new").exists()


def result(stands: bool, apparent: float, low: float | None, high: float | None, higher: bool = True):
    return {
        "stands": stands,
        "gain": {"apparent": apparent},
        "higher_is_better": higher,
        "test": {"difference": {} if stands else {"value": 0.1, "low": low, "high": high}},
    }


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (result(True, 0.0, None, None), "Keep the original config: no trial was better"),
        (result(True, 0.2, None, None), "Keep the original config: after correcting for selection bias"),
        (result(False, 0.2, -0.1, 0.1), "not clearly better"),
        (result(False, 0.2, None, None), "not clearly better"),
        (result(False, 0.2, 0.1, 0.3), "better on the test set too"),
        (result(False, 0.2, -0.3, -0.1), "worse on the test set"),
        (result(False, 0.2, 0.1, 0.3, higher=False), "worse on the test set"),
        (result(False, 0.2, -0.3, -0.1, higher=False), "better on the test set too"),
    ],
)
def test_the_verdict(found, says: str) -> None:
    assert says in verdict(found)


def test_what_is_printed_of_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = {"value": 0.02, "low": 0.01, "high": 0.03}
    print_tuned(
        {
            "metric": "ndcg@100",
            "higher_is_better": True,
            "trials": {"complete": 15, "pruned": 5, "failed": 1},
            "seconds": 90.0,
            "given": {"trial": 0, "validation": 0.3},
            "best": {"trial": 9, "validation": 0.33},
            "gain": {"apparent": 0.03, "optimism": 0.01, "corrected": bounds},
            "stands": False,
            "changed": {"model.hidden": [[128], []], "model.id_dropout": ["auto", 0.25]},
            "importance": {"model.hidden": 0.75, "model.id_dropout": 0.25},
            "test": {
                "metric": "ndcg@100",
                "given": bounds,
                "best": bounds,
                "difference": bounds,
                "baseline": {
                    "ranking": {"ndcg@10": {"value": 0.3, "low": 0.2, "high": 0.4}},
                    "popularity": {
                        "metrics": {"ndcg@10": {"value": 0.28, "low": 0.2, "high": 0.3}},
                        "difference": {"ndcg@10": bounds},
                    },
                },
            },
        }
    )
    out = capsys.readouterr().out
    assert "Test set, best config. Beats popularity: NDCG@10 0.300 vs 0.280, +0.020 [" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["apparent", "gain", "+0.0300"] in lines
    assert ["selection", "bias", "+0.0100"] in lines
    assert ["corrected", "gain", "+0.0200", "[+0.0100,", "+0.0300]"] in lines
    assert ["best", "minus", "original", "+0.0200", "[+0.0100,", "+0.0300]"] in lines
    assert ["model.hidden", "[128]", "[]"] in lines
    assert ["model.id_dropout", "auto", "0.25"] in lines
    assert ["model.hidden", "75%"] in lines


def test_a_bar_moves_over_the_budget() -> None:
    done = Trial(0, "complete", 0.25, {}, 30.0, 4)
    for budget, total, completed in ((Budget(20, None), 20, 1), (Budget(None, 2.0), 120.0, 30.0)):
        with Progress(*epoch_progress().columns[:1], console=Console(file=io.StringIO())) as progress:
            bar = TrialBar(progress)
            bar.begin(budget, NDCG)
            bar.trial(0, {})
            bar.epoch({"epoch": 3, "validation_ndcg@100": 0.125})
            (task,) = progress.tasks
            assert task.fields["told"].endswith("trial 0 epoch 3 0.1250")
            bar.ended(done, done, 1, 30.0)
            assert (task.total, task.completed) == (total, completed)
            assert task.fields["told"] == "best ndcg@100 0.2500 (trial 0)"
            bar.end("20 trials")
            assert task.description == "tune: 20 trials"


@pytest.mark.parametrize(("terminal", "kind"), [(True, TrialBar), (False, TrialLines)])
def test_a_bar_is_for_terminals(terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with tuning_progress() as (watcher, _):
        assert type(watcher) is kind
