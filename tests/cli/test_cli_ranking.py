"""The commands on a run that is trained to rank, and on ranking input that is wrong."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

RANKING = ["--set", "objective.name=all_pairs", "--set", "positive.threshold=3.5"]


@pytest.fixture(scope="module")
def ranked(call, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ranked") / "run"
    answer = call("train", tables / "config.toml", "--out", run, *RANKING, "--set", "evaluation.ks=[5, 10]")
    assert answer.code == 0, answer.err
    assert "validation ndcg@100 " in answer.err
    assert "MAE" not in answer.out
    return run


def test_evaluate_prints_a_column_for_each_k(call, ranked: Path) -> None:
    answer = call("evaluate", ranked, "--full")
    assert answer.code == 0
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["ranking", "@5", "@10"] in lines
    shown = {line[0] for line in lines if line}
    assert {"recall", "NDCG", "hit", "precision", "MAP", "MRR", "coverage", "Gini", "novelty"} <= shown
    assert "30 items ranked for" in answer.out
    assert "item popularity: head" in answer.out
    found = call("evaluate", ranked, "--json").json
    assert found["rating"] == {}
    assert set(found["ranking"]["ndcg@5"]) == {"value", "low", "high"}
    assert f"{found['ranking']['ndcg@5']['value']:.4f}" in answer.out


def test_evaluate_a_rating_run_prints_both(call, run: Path, trained) -> None:
    answer = call("evaluate", run, "--full")
    assert "RMSE" in answer.out
    assert "NDCG" in answer.out
    assert set(trained.json["ranking"]) >= {"recall@20", "ndcg@10"}


def test_compare_prints_rankings(call, tables: Path) -> None:
    answer = call("compare", tables / "config.toml", *RANKING, "--set", "training.epochs=1", "--full")
    assert answer.code == 0, answer.err
    for name in ("two-tower", "popularity", "item kNN", "EASE", "iALS", "BPR"):
        assert f"{name}: " in answer.err or f"{name} (" in answer.err
        assert name in answer.out
    assert "NDCG@10" in answer.out
    assert "two-tower minus each baseline" in answer.out
    assert "training data of each model" in answer.out
    given = answer.out[answer.out.index("training data of each model") :]
    lines = {line.split("  ")[0].strip(" │|"): line for line in reversed(given.splitlines())}
    assert "grades, features" in lines["two-tower"]
    assert any("given " in line for line in answer.err.splitlines() if line.startswith("EASE ("))


def test_compare_says_what_each_model_was_given_as_json(call, tables: Path) -> None:
    found = call("compare", tables / "config.toml", *RANKING, "--set", "training.epochs=1", "--json").json
    assert found["given"]["two-tower"] == "grades, features"
    assert set(found["given"]) == set(found["models"])
    for name, worth in found["validation"].items():
        assert set(worth) == {"grades", "positives alone"}
        assert worth[found["given"][name]] == max(worth.values())


def test_recommend_and_similar_work_on_it(call, ranked: Path, tmp_path: Path) -> None:
    found = call("recommend", ranked, "--user", 3, "-k", 4, "--json").json["items"]
    assert [one["rank"] for one in found] == [1, 2, 3, 4]
    assert call("similar", ranked, "--item", found[0]["item_id"], "-k", 2).code == 0
    assert call("recommend", ranked, "--all", "-k", 4, "--out", tmp_path / "all.csv").code == 0
    mine = pl.read_csv(tmp_path / "all.csv").filter(pl.col("user_id") == 3)
    assert mine["item_id"].to_list() == [one["item_id"] for one in found]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["positive.threshold=50"],
            "training set: there must be at least one positive (a label of at least 50)",
        ),
        (["positive.threshold=50"], "Labels range from "),
        (["positive.quantile=0.5"], "only one rule can define positives, got threshold and quantile"),
        (["positive.threshold=none", "positive.duration_rank=0.8"], "set schema.duration to its column"),
        (["positive.threshold=none", "positive.quantile=1.5"], "must be below 1, got 1.5"),
        (["evaluation.candidates=test_item"], "Did you mean 'test_items'?"),
        (["evaluation.ks=[0]"], "must be at least 1, got 0"),
        (["evaluation.ks=10"], "'evaluation.ks' must be a list in square brackets, got 10."),
        (["evaluation.ranking=false"], "which is measured by ranking metrics only"),
        (["objective.name=all_pair"], "Did you mean 'all_pairs'?"),
        (["objective.unobserved_weight=-1"], "must be at least 0, got -1"),
    ],
)
def test_wrong_ranking_settings(call, tables: Path, tmp_path: Path, settings: list[str], said: str) -> None:
    more = [part for setting in settings for part in ("--set", setting)]
    for command in (["train", "--out", tmp_path / "run"], ["compare"]):
        answer = call(command[0], tables / "config.toml", *command[1:], *RANKING, *more)
        assert answer.code == 2
        assert said in answer.err
        assert "Traceback" not in answer.err
        assert answer.out == ""
    assert not list(tmp_path.iterdir())
