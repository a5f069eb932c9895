"""The commands on tables whose columns have the names that results use: rank, score, count, item_id."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

CONFIG = """
seed = 1
[data]
source = "tables"
interactions = "interactions.csv"
users = "users.csv"
items = "items.csv"
[schema]
user = "rank"
item = "score"
label = "prediction"
display = ["title", "rank", "item_id", "prediction", "count"]
[schema.users]
score = "number"
user_id = "category"
count = "category"
[schema.items]
rank = "category"
item_id = "category"
prediction = "number"
count = "category"
title = "text"
[training]
epochs = 1
[evaluation]
resamples = 100
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("names"), random.Random(3)
    pairs = [(user, item) for user in range(40) for item in rng.sample(range(30), 8)]
    pl.DataFrame(
        {
            "rank": [user for user, _ in pairs],
            "score": [item for _, item in pairs],
            "prediction": [1 + (7 * item + user) % 5 for user, item in pairs],
        }
    ).write_csv(folder / "interactions.csv")
    users, items = range(40), range(30)
    pl.DataFrame(
        {
            "rank": users,
            "score": [user % 5 for user in users],
            "user_id": [f"g{user % 3}" for user in users],
            "count": [user % 4 for user in users],
        }
    ).write_csv(folder / "users.csv")
    pl.DataFrame(
        {
            "score": items,
            "rank": [item % 3 for item in items],
            "item_id": [f"x{item % 4}" for item in items],
            "prediction": [item % 7 for item in items],
            "count": [item % 5 for item in items],
            "title": [f"Title {item}" for item in items],
        }
    ).write_csv(folder / "items.csv")
    (folder / "config.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, call) -> Path:
    answer = call("train", folder / "config.toml", "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def test_check(folder: Path, call) -> None:
    answer = call("check", folder / "config.toml", "--json")
    assert answer.code == 0, answer.err
    assert "findings" in answer.json


def test_init_reads_such_tables(folder: Path, call) -> None:
    tables = folder / "interactions.csv", "--out", folder / "new.toml"
    answer = call("init", *tables, "--yes", "--user", "rank", "--item", "score")
    assert answer.code == 0, answer.err
    assert call("check", folder / "new.toml").code == 0


def test_results_keep_the_columns_apart(run: Path, folder: Path, call) -> None:
    answer = call("recommend", run, "--user", 0, "-k", 3)
    assert answer.code == 0, answer.err
    for name in ("rank", "item_score", "score", "title", "item_rank", "item_id", "prediction", "count"):
        assert name in answer.out
    assert call("similar", run, "--item", 3, "-k", 3).code == 0
    assert call("recommend", run, "--all", "-k", 5, "--out", folder / "all.parquet").code == 0
    found = pl.read_parquet(folder / "all.parquet")
    assert found.columns == ["user_id", "item_id", "rank", "score"]
    (folder / "pairs.csv").write_text("rank,score,prediction\n1,2,5\n3,4,9\n")
    answer = call("score", run, "--pairs", folder / "pairs.csv", "--out", folder / "scored.csv")
    assert answer.code == 0, answer.err
    scored = pl.read_csv(folder / "scored.csv")
    assert scored.columns == ["rank", "score", "prediction", "model_score"]
    assert scored.get_column("score").to_list() == [2, 4]


def test_report(run: Path, folder: Path, call) -> None:
    answer = call("report", run, "--no-baselines", "--out", folder / "report.html")
    assert answer.code == 0, answer.err
    assert "Title 1" in (folder / "report.html").read_text()
