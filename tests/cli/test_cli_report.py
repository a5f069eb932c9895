"""``twotower report``, on runs that predict and that rank, with much and with little data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("vl_convert", reason="needs the extra report")

from twotower.report import write_report
from twotower.workflows import Run

BARE = """
seed = 1
[data]
interactions = "events.csv"
[schema]
user = "who"
item = "what"
[model]
dim = 8
kind = "mlp"
hidden = [8]
[objective]
name = "all_pairs"
[training]
epochs = 2
threads = 1
[evaluation]
ks = [3]
resamples = 100
"""


def test_it_writes_into_the_run(call, run: Path) -> None:
    answer = call("report", run)
    assert answer.code == 0, answer.err
    assert "baselines left out: notebook; --all-baselines adds" in answer.err
    assert answer.out.splitlines()[-1].startswith(f"{run / 'report.html'}, 0.")
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Run(run).foreign() == []
    again = call("report", run, "--no-baselines")
    assert again.code == 0
    assert "left out" not in again.err


def test_json_says_what_is_in_it(call, run: Path, tmp_path: Path) -> None:
    found = call("report", run, "--out", tmp_path / "my.html", "--json").json
    assert found["report"] == str(tmp_path / "my.html")
    metrics = json.loads((run / "metrics.json").read_text())
    assert (found["metric"], found["score"]) == ("rmse", metrics["rating"]["rmse"])
    assert set(found["compared"]["models"]) == {"two-tower", "mean", "biases"}
    assert found["left_out"].keys() == {"notebook"}
    assert found["counts"]["error"] == 0
    assert found["data_changed"] is False
    assert {one["column"] for one in found["importance"]} == {"id", "age", "genres"}
    # three epochs are too few, and the doctor says so
    assert "learning" in {one["check"] for one in found["findings"]}
    none = call("report", run, "--no-baselines", "--json", "--out", tmp_path / "my.html").json
    assert none["compared"] is None
    assert set(none["left_out"]) == {"mean", "biases", "notebook"}


def test_implicit_data_with_ids_of_text_and_no_table(call, tmp_path: Path) -> None:
    pairs = [(f"<b>u{n % 30}</b>", f"i&{(n * 7 + n // 30) % 20}") for n in range(300)]
    pl.DataFrame(pairs, schema=["who", "what"], orient="row").unique(maintain_order=True).write_csv(
        tmp_path / "events.csv"
    )
    (tmp_path / "bare.toml").write_text(BARE, encoding="utf-8")
    assert call("train", tmp_path / "bare.toml", "--out", tmp_path / "run").code == 0
    found = call("report", tmp_path / "run", "--json")
    assert found.code == 0, found.err
    assert found.json["metric"] == "ndcg@3"
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<b>u" not in html
    assert "User &lt;b&gt;u" in html
    assert "every interaction" in html
    assert found.json["importance"][0]["column"] == "id"


def test_a_rating_run_without_ranking(call, tables: Path, tmp_path: Path) -> None:
    settings = [
        "--set",
        "evaluation.ranking=false",
        "--set",
        "training.epochs=1",
        "--set",
        "evaluation.cap=4.0",
    ]
    assert call("train", tables / "config.toml", "--out", tmp_path / "run", *settings).code == 0
    found = call("report", tmp_path / "run", "--json")
    assert found.code == 0, found.err
    assert found.json["metric"] == "rmse_capped"
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Popularity and coverage" not in html
    assert "capped RMSE" in html


def test_data_that_has_changed_is_told(call, tables: Path, tmp_path: Path) -> None:
    for name in ("events.csv", "users.csv", "items.parquet", "config.toml"):
        (tmp_path / name).write_bytes((tables / name).read_bytes())
    run = tmp_path / "run"
    assert call("train", tmp_path / "config.toml", "--out", run, "--set", "training.epochs=1").code == 0
    assert call("report", run, "--json").json["data_changed"] is False
    events = pl.read_csv(tmp_path / "events.csv")
    events.with_columns(stars=pl.col("stars") + 0.01).reverse().write_csv(tmp_path / "events.csv")
    answer = call("report", run)
    assert answer.code == 0
    assert "error: the data has changed since the model was trained" in answer.out
    assert "The data has changed since this model was trained" in (run / "report.html").read_text("utf-8")
    # a run of before fingerprints has none to compare with
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["data"]["hash"], metrics["version"], metrics["finished"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert call("report", run, "--json").json["data_changed"] is False
    html = (run / "report.html").read_text("utf-8")
    assert "the run recorded none" in html
    assert "Test rows were trained on" in html


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "no/such/folder.html"], "--out must be in a folder that exists, there is no "),
        (["--out", "."], "is a folder; name a file in it"),
        (["--no-baseline"], "Did you mean '--no-baselines'?"),
    ],
)
def test_wrong_arguments(call, run: Path, arguments: list[str], said: str) -> None:
    answer = call("report", run, *arguments)
    assert (answer.code, said in " ".join(answer.err.split())) == (2, True), answer.err


def test_no_run_there(call, tmp_path: Path) -> None:
    answer = call("report", tmp_path / "nothing")
    assert answer.code == 2
    assert "there is no run in" in answer.err
    from twotower.errors import ConfigError

    with pytest.raises(ConfigError, match="baselines must be one of quick, all, none; got 'quik'"):
        write_report(tmp_path, baselines="quik")


@pytest.mark.parametrize("module", ["vl_convert", "jinja2"])
def test_a_missing_package_is_named(call, run: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (run / "report.html").unlink(missing_ok=True)
    answer = call("report", run)
    assert answer.code == 2
    assert "pip install 'twotower[report]'" in answer.err
    assert "rows:" not in answer.err  # told before anything is read
    assert not (run / "report.html").exists()


def test_a_full_disk_leaves_the_earlier_report(call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "report.html").write_text("the earlier one", encoding="utf-8")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twotower.core.atomic.os.replace", full)
    answer = call("report", run, "--no-baselines")
    assert answer.code == 2
    assert "No space left" in answer.err
    assert (run / "report.html").read_text("utf-8") == "the earlier one"
    assert not list(run.glob(".report*"))
