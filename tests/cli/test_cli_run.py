"""The commands on a small run: what goes to stdout, what to stderr, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest


def test_train_says_json_on_stdout_and_the_rest_on_stderr(trained, run: Path) -> None:
    assert trained.json["run"] == str(run)
    assert trained.json["rating"] == json.loads((run / "metrics.json").read_text())["rating"]
    lines = trained.err.splitlines()
    assert any(line.startswith("train epoch 1/3: loss ") for line in lines)
    assert any(line.startswith("posterior: ") and "480 pairs" in line for line in lines)
    assert any(line.startswith("posterior: ") and "better on validation" in line for line in lines)
    assert any(line.startswith("rows: train 480, validation 60, test 60") for line in lines)
    assert any(line.startswith("done in ") and "encode" in line for line in lines)


def test_train_prints_a_table_and_overrides_settings(call, tables: Path, tmp_path: Path) -> None:
    answer = call(
        "train", tables / "config.toml", "--out", tmp_path / "run",
        "--set", "training.epochs=1", "--set", "evaluation.cap=4", "--full",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.out.startswith("test set, 60 rows\n")
    assert "RMSE, capped" in answer.out
    assert "\x1b" not in answer.out + answer.err
    assert "train: all epochs" in answer.err


def test_train_refuses_a_finished_run(call, tables: Path, run: Path) -> None:
    before = (run / "metrics.json").read_bytes()
    answer = call("train", tables / "config.toml", "--out", run)
    assert answer.code == 2
    assert "contains a finished run" in answer.err
    assert (run / "metrics.json").read_bytes() == before


def test_train_resumes_and_refuses_another_config(call, tables: Path, run: Path, trained) -> None:
    answer = call("train", tables / "config.toml", "--out", run, "--resume", "--json")
    assert answer.json == trained.json
    answer = call("train", tables / "config.toml", "--out", run, "--resume", "--set", "model.dim=16")
    assert answer.code == 2
    assert "model.dim: 16, 8" in answer.err


def test_evaluate(call, run: Path, trained) -> None:
    answer = call("evaluate", run, "--json")
    assert answer.code == 0
    assert answer.json["rating"] == trained.json["rating"]
    assert set(answer.json["rating"]["mae"]) == {"value", "low", "high"}
    assert f"{trained.json['rating']['mae']['value']:.4f}" in call("evaluate", run, "--full").out


def test_recommend_prints_a_table(call, run: Path) -> None:
    answer = call("recommend", run, "--user", 3, "-k", 4)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "recommended to user 3"
    assert lines[2].split() == ["rank", "film", "score", "title"]
    assert [line.split()[0] for line in lines[4:8]] == ["1", "2", "3", "4"]
    # a title is shown as it is written, on one line
    assert "Film [bold]" in answer.out
    # the run predicts, which is said once
    assert answer.err.count("not to rank") == len(answer.err.splitlines()) == 1


def test_several_users_and_items_are_answered_each(call, run: Path) -> None:
    answer = call("recommend", run, "--user", 3, "--user", 5, "--user", 3, "-k", 4, "--json")
    assert [one["user_id"] for one in answer.json["answers"]] == [3, 5]
    for one in answer.json["answers"]:
        assert one == call("recommend", run, "--user", one["user_id"], "-k", 4, "--json").json
    lines = call("recommend", run, "--user", 3, "--user", 5, "-k", 4).out.splitlines()
    assert [line for line in lines if line.startswith("rec")] == [
        "recommended to user 3",
        "recommended to user 5",
    ]
    alike = call("similar", run, "--item", 7, "--item", 9, "--json").json["answers"]
    assert [one["item_id"] for one in alike] == [7, 9]
    assert call("recommend", run, "--user", 3, "--user", 999).code == 2


def test_recommend_json(call, run: Path) -> None:
    answer = call("recommend", run, "--user", 3, "-k", 4, "--json")
    assert answer.json["user_id"] == 3
    assert [item["rank"] for item in answer.json["items"]] == [1, 2, 3, 4]
    assert set(answer.json["items"][0]) == {"item_id", "rank", "score", "title"}


def test_recommend_leaves_out_what_was_seen_unless_asked(call, run: Path, tables: Path) -> None:
    events = pl.read_csv(tables / "events.csv")
    seen = set(events.filter(pl.col("person") == 3)["film"])

    def films(*more: str) -> set[int]:
        answer = call("recommend", run, "--user", 3, "-k", 30, "--json", *more)
        return {item["item_id"] for item in answer.json["items"]}

    assert films("--include-seen") == set(range(30))
    assert 0 < len(films()) < 30
    assert films() >= set(range(30)) - seen


def test_recommend_to_someone_unknown(call, run: Path) -> None:
    for user in ("999", "me"):
        answer = call("recommend", run, "--user", user)
        assert answer.code == 2
        assert user in answer.err


def test_similar_prints_a_table_or_json(call, run: Path) -> None:
    item = call("recommend", run, "--user", 3, "-k", 1, "--json").json["items"][0]["item_id"]
    answer = call("similar", run, "--item", item, "-k", 4)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == f"similar to item {item}"
    found = call("similar", run, "--item", item, "-k", 4, "--json").json
    assert found["item_id"] == item
    assert [one["rank"] for one in found["items"]] == [1, 2, 3, 4]
    assert item not in [one["item_id"] for one in found["items"]]
    scores = [one["score"] for one in found["items"]]
    assert scores == sorted(scores, reverse=True)


def test_similar_takes_lists_of_items(call, run: Path, tmp_path: Path) -> None:
    everyone = call("similar", run, "--item", 7, "-k", 5, "--json").json["items"]
    first, second = (one["item_id"] for one in everyone[:2])
    (tmp_path / "some.csv").write_text(f"film\n{first}\n{second}\n")
    only = call("similar", run, "--item", 7, "--allow", tmp_path / "some.csv", "--json").json["items"]
    assert [one["item_id"] for one in only] == [first, second]
    without = call("similar", run, "--item", 7, "-k", 3, "--deny", tmp_path / "some.csv", "--json").json
    assert without["items"] == [{**one, "rank": rank} for rank, one in enumerate(everyone[2:5], 1)]


def test_similar_to_an_item_unknown(call, run: Path) -> None:
    answer = call("similar", run, "--item", "nothing")
    assert answer.code == 2
    assert "unknown item 'nothing'" in answer.err


def test_recommend_to_all(call, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "recs.parquet"
    answer = call("recommend", run, "--all", "-k", 5, "--out", out)
    assert (answer.code, answer.out) == (0, "")
    assert "wrote 200 rows" in answer.err
    assert pl.read_parquet(out).columns == ["user_id", "item_id", "rank", "score"]
    assert call("recommend", run, "--all", "-k", 5, "--out", out, "--json").json["rows"] == 200


def test_more_than_the_catalogue_is_cut_and_said(call, run: Path, tmp_path: Path) -> None:
    for args in (["--user", 3], ["--all", "--out", tmp_path / "recs.csv"]):
        answer = call("recommend", run, *args, "-k", 31)
        assert answer.code == 0
        assert (
            answer.err.count("note: k = 31 is more than the catalogue's 30 items; lists have at most 30") == 1
        )
    answer = call("similar", run, "--item", 3, "-k", 30, "--json")
    assert len(answer.json["items"]) == 29
    assert "note: k = 30 is more than the catalogue's 29 other items" in answer.err


@pytest.mark.parametrize("k", [0, -3])
def test_recommend_an_impossible_number(call, run: Path, tmp_path: Path, k: int) -> None:
    for args in (["--user", 3], ["--all", "--out", tmp_path / "recs.csv"]):
        answer = call("recommend", run, *args, "-k", k)
        assert answer.code == 2
        assert f"k must be at least 1, got {k}" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_score(call, run: Path, tmp_path: Path, suffix: str) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / f"out{suffix}"
    pl.DataFrame({"person": [1, 2], "film": [3, 4]}).write_csv(pairs)
    answer = call("score", run, "--pairs", pairs, "--out", out)
    assert (answer.code, answer.out) == (0, "")
    table = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    assert table.columns == ["person", "film", "prediction"]
    assert call("score", run, "--pairs", pairs, "--out", out, "--json").json["rows"] == 2


@pytest.mark.parametrize("command", [["recommend", "--all"], ["score", "--pairs"]])
def test_the_data_is_not_written_over(call, run: Path, tables: Path, command: list[str]) -> None:
    events = tables / "events.csv"
    before = events.read_bytes()
    more = [events] if command[0] == "score" else []
    answer = call(command[0], run, *command[1:], *more, "--out", events)
    assert (answer.code, events.read_bytes()) == (2, before)
    assert "--out must not be a table that the run was made from" in answer.err


def test_a_bundle_with_a_changed_part_is_refused(call, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    for path in sorted(run.rglob("*")):
        if path.is_file():
            target = copy / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    part = copy / "bundle" / "vectors.safetensors"
    part.write_bytes(part.read_bytes()[:-4])
    answer = call("recommend", copy, "--user", 3)
    assert answer.code == 2
    assert "vectors.safetensors" in answer.err


def test_compare(call, tables: Path) -> None:
    args = ("compare", tables / "config.toml", "--set", "training.epochs=1")
    answer = call(*args, "--json")
    assert answer.code == 0
    models = list(answer.json["models"])
    assert models[0] == answer.json["against"] == "two-tower"
    assert set(answer.json["differences"]) == set(models[1:])
    table = call(*args, "--full").out
    assert all(model in table for model in models)
    assert "two-tower minus each baseline" in table


def test_synth_and_the_recipe_that_reads_it(call, tmp_path: Path) -> None:
    data = tmp_path / "data"
    answer = call("synth", "kuairec", data, "--scale", 0.0005, "--seed", 1, "--json")
    assert answer.code == 0
    assert set(answer.json["rows"]) == {path.name for path in data.iterdir()}
    assert "big_matrix.csv: 100%" in answer.err
    settings = [
        "--set",
        "training.epochs=1",
        "--set",
        "model.dim=8",
        "--set",
        "model.kind=mlp",
        "--set",
        "model.hidden=[8]",
    ]
    trained = call(
        "train", "kuairec", "--set", f"data.dir={data}", *settings, "--out", tmp_path / "run", "--json"
    )
    assert trained.code == 0, trained.err
    assert "duplicate rows" in trained.err
    assert trained.json["data"]["rows"]["test"] == answer.json["rows"]["small_matrix.csv"]


def test_fetch_takes_a_file_downloaded_by_hand(call, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.zip"
    wrong.write_bytes(b"not the archive")
    answer = call("fetch", "kuairec", "--out", tmp_path / "data", "--from", wrong)
    assert answer.code == 2
    assert "checksum" in answer.err
    assert answer.out == ""


def test_demo(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twotower.baselines import BASELINES, Popularity

    monkeypatch.setattr("twotower.workflows.comparing.BASELINES", {"mean": BASELINES["mean"]})
    monkeypatch.setattr("twotower.workflows.demonstration.RANKING_BASELINES", {"popularity": Popularity})
    settings = [
        "training.epochs=1",
        "model.dim=8",
        "model.kind=mlp",
        "model.hidden=[8]",
        "evaluation.resamples=100",
    ]
    answer = call("demo", "--full", "--out", tmp_path / "demo", *(f"--set={setting}" for setting in settings))
    assert answer.code == 0, answer.err
    assert "two-tower minus each baseline" in answer.out
    assert "recommended to user 14" in answer.out
    assert "caption" in answer.out
    assert (tmp_path / "demo" / "bundle" / "bundle.json").exists()
    assert call("recommend", tmp_path / "demo", "--user", 14, "--json").code == 0
