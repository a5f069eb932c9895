"""A config with [ranker]: trained, evaluated in both stages, saved, loaded and evaluated again."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from two_stage_data import DAY, DAYS, START, data, events
from twotower.cli import app
from twotower.cli.measures import print_evaluation
from twotower.config import dump_config, load_config
from twotower.errors import ConfigError
from twotower.estimator import second_stage
from twotower.ranking.groups.registry import features_of
from twotower.report.tables import ranker_table
from twotower.workflows import evaluate, train
from twotower.workflows.comparing import compare_rankers
from twotower.workflows.continuing import continue_run
from twotower.workflows.event_table import EventTable
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run

NEW = 999
CONFIG = """
[data]
interactions = "events.csv"
items = "items.csv"
[schema]
label = "stars"
timestamp = "at"
[schema.items]
genre = "category"
[split]
method = "temporal"
test = 0.15
validation = 0.15
[model]
kind = "linear"
dim = 8
[objective]
regularisation = 0.3
hard_weight = 0.0
[training]
epochs = 2
threads = 1
[evaluation]
ks = [10]
resamples = 100
"""
RANKER = """
[ranker]
candidates = 30
folds = 1
trees = 15
min_rows = 10
grades = "labels"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    events().write_csv(tmp_path / "events.csv")
    data().items.select("item_id", "genre").write_csv(tmp_path / "items.csv")
    (tmp_path / "config.toml").write_text(CONFIG + RANKER)
    return tmp_path / "config.toml"


def test_a_run_with_a_second_stage(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = train(load_config(config), tmp_path / "run")
    stages = done.metrics["stages"]
    assert stages["candidates"] == 30
    assert set(stages) == {"candidates", "found", "towers", "ranker", "difference", "says"}
    change = done.metrics["ranking"]["ndcg@10"]["value"] - stages["towers"]["ndcg@10"]["value"]
    assert stages["difference"]["ndcg@10"]["value"] == pytest.approx(change)
    # what the second stage loses itself is less than what is lost in all
    assert stages["ranker"]["recall@10"]["value"] >= done.metrics["ranking"]["recall@10"]["value"]
    again = evaluate(tmp_path / "run")
    assert again["stages"] == stages
    assert again["ranking"] == done.metrics["ranking"]
    assert done.run.config() == load_config(config)
    said = done.metrics["model"]["ranker"]
    assert 1 <= said["trees"] <= 15
    assert sum(said["importance"].values()) == pytest.approx(1, abs=0.01)
    print_evaluation(again)
    assert stages["says"] in " ".join(capsys.readouterr().out.split())
    assert done.recommender.ranker is not None
    table = ranker_table(done.recommender.ranker)
    assert table.rows[0][0].value == next(iter(said["importance"]))
    parts = load_parts(done.run.config())
    compared = compare_rankers(done.run.config(), done.recommender, parts, baselines=[]).comparison
    assert list(compared.models) == ["two-tower", "towers alone"]
    found = compared.differences["towers alone"]["ndcg@10"]
    assert found.value == pytest.approx(-change)
    assert (found.low, found.high) == pytest.approx(
        (-stages["difference"]["ndcg@10"]["high"], -stages["difference"]["ndcg@10"]["low"])
    )
    assert done.run.recommender().recommend(3, 5).equals(done.recommender.recommend(3, 5))


def test_the_section_is_read_strictly_and_nothing_is_written_without_it(config: Path) -> None:
    loaded = load_config(config, ["ranker.trees=7"])
    assert loaded.ranker is not None
    assert (loaded.ranker.trees, loaded.ranker.candidates, loaded.ranker.grades) == (7, 30, "labels")
    assert "[ranker]" in dump_config(loaded)
    with pytest.raises(ConfigError, match="Did you mean 'trees'"):
        load_config(config, ["ranker.tree=7"])
    predicts = RANKER + "[objective]\nname = 'squared'\n"
    config.write_text(CONFIG.partition("[model]")[0] + predicts)
    with pytest.raises(ConfigError, match=r"\[ranker\] ranks again .* 'squared' predicts a label"):
        load_config(config)
    config.write_text(CONFIG)
    plain = load_config(config)
    assert plain.ranker is None
    assert "ranker" not in dump_config(plain)


def test_rules_and_what_was_observed(config: Path, tmp_path: Path) -> None:
    """Only items that a user has rows with are ranked, by their labels; a run keeps its rules."""
    observed = CONFIG.replace("resamples = 100", 'resamples = 100\ncandidates = "test_pairs"')
    observed = observed.replace("[schema.items]", 'display = ["genre"]\n[schema.items]')
    rules = '[diversity]\ncolumn = "genre"\nat_most = 3\n'
    config.write_text(observed + "[positive]\nthreshold = 4\n" + RANKER + rules)
    done = train(load_config(config), tmp_path / "run")
    rows = events()
    latest = rows.sort("at").tail(round(0.3 * len(rows)))  # of which the validation set is the first half
    fold = rows.sort("at")[: len(rows) - len(latest)].tail(round(0.1 * 0.7 * len(rows)))
    assert done.metrics["model"]["ranker"]["queries"] <= fold["user_id"].n_unique()
    loaded = done.run.recommender()
    lists = loaded.recommend(loaded.user_ids.head(20), 10)
    assert lists.group_by("user_id", "genre").len()["len"].max() == 3
    run = [str(tmp_path / "run"), "--user", "3", "-k", "8", "--json"]
    one = CliRunner().invoke(
        app, ["recommend", *run, "--diversity", "column=genre", "--diversity", "at_most=2"]
    )
    assert one.exit_code == 0
    genres = [item["genre"] for item in json.loads(one.stdout)["items"]]
    assert max(map(genres.count, genres)) == 2
    none = CliRunner().invoke(app, ["recommend", *run, "--diversity", "none"])
    plain = loaded.recommend(3, 8, diversity=False)["item_id"].to_list()
    assert [item["item_id"] for item in json.loads(none.stdout)["items"]] == plain
    wrong = config.read_text().replace('column = "genre"', 'column = "genres"')
    config.write_text(wrong)
    with pytest.raises(ConfigError, match=r"must be a display column \(genre\), got 'genres'.*Did you mean"):
        train(load_config(config), tmp_path / "other")


def test_a_continued_run_keeps_its_trees_and_ranks_what_is_new(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(load_config(config), tmp_path / "run")
    start = START + (DAYS + 1) * DAY
    liked = [0, 4, 8, 12, 16]
    rows = [(NEW, item, start + item, 5) for item in liked] + [(3, 118, start, 5)]
    table = pl.DataFrame(rows, ["user_id", "item_id", "at", "stars"], orient="row")
    table.write_parquet(tmp_path / "later.parquet")
    events = [str(tmp_path / "run"), "--events", str(tmp_path / "later.parquet")]
    shown = CliRunner().invoke(app, ["train", "--from", *events, "--out", str(tmp_path / "next")])
    assert shown.exit_code == 0, shown.output
    assert "the second stage keeps its trees" in shown.stdout
    model, before = Run(tmp_path / "next").recommender(), first.recommender
    assert model.ranker is not None
    assert before.ranker is not None
    assert model.ranker.trees.text == before.ranker.trees.text
    assert model.ranker.known.past.end == start + 16
    assert len(model.ranker.known.past.grade) == len(before.ranker.known.past.grade) + len(rows)
    assert model.ranker.known.past.lists[model.users.index[NEW]].tolist() == [
        model.items.index[i] for i in liked
    ]
    assert set(model.recommend(NEW, 10)["item_id"]).isdisjoint(liked)
    metrics = Run(tmp_path / "next").metrics()
    assert metrics["continued"]["ranker"] in " ".join(shown.stdout.split())
    assert evaluate(tmp_path / "next")["stages"] == metrics["stages"]
    later = EventTable.read(tmp_path / "later.parquet", model.encoder.schema)
    monkeypatch.setattr(second_stage, "features_of", lambda known: features_of(known)[1:])
    with pytest.raises(ConfigError, match="reads other features than the continued model"):
        continue_run(tmp_path / "run", later)
    assert Run(tmp_path / "run").metrics() == first.metrics
