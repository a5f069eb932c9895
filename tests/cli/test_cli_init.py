"""``twotower init``: a config for each layout trains with no hand edit; what it asks, and what it refuses."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from data_layouts import LAYOUTS
from twotower.config import load_config

QUICK = [
    "training.epochs=1",
    "training.refit=false",
    "model.dim=8",
    "model.hidden=[8]",
    "evaluation.resamples=100",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_init_then_check_then_train(call, layout: str, tmp_path: Path) -> None:
    config = tmp_path / "it.toml"
    made = call("init", *LAYOUTS[layout](tmp_path), "--yes", "--out", config)
    assert made.code == 0, made.err
    assert made.out.strip() == str(config)
    checked = call("check", config, "--json")
    assert checked.code == 0, checked.out + checked.err
    settings = [part for setting in QUICK for part in ("--set", setting)]
    trained = call("train", config, "--out", tmp_path / "run", "--json", *settings)
    assert trained.code == 0, trained.err
    if layout == "clicks":  # there is nothing to predict
        assert trained.json["ranking"]["ndcg@10"]["value"] >= 0
    else:
        assert trained.json["rating"]["mae"]["value"] > 0


def test_what_is_written_says_why_and_is_relative_to_the_config(call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    LAYOUTS["own_tables"](tmp_path / "data")
    assert call("init", tmp_path / "data", "--yes", "--out", tmp_path / "own.toml").code == 0
    text = (tmp_path / "own.toml").read_text()
    assert 'interactions = "data/orders.parquet"' in text
    assert 'label = "stars"' in text
    assert "by its name" in text
    schema = load_config(tmp_path / "own.toml").schema_
    assert schema is not None
    assert dict(schema.users) == {"age": "number", "gender": "category", "occupation": "category"}
    assert dict(schema.items) == {"title": "text", "genres": "categories"}
    assert "# zip is left out" in text  # sixty codes of sixty users


def test_there_is_nobody_to_ask(call, tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2], "b": [3, 4], "rating": [1, 2]}).write_csv(tmp_path / "x.csv")
    answer = call("init", tmp_path / "x.csv", "--yes", "--out", tmp_path / "it.toml")
    assert answer.code == 2
    assert "can't tell which column of x.csv is the user: no column of x.csv (a, b, rating)" in answer.err
    assert not (tmp_path / "it.toml").exists()


def test_on_a_terminal_it_asks_what_it_can_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": [1, 2] * 20, "b": list(range(40)), "p": [1.5] * 40, "q": [2.5] * 40})
    frame.write_csv(tmp_path / "x.csv")
    asked: list[str] = []

    def answer(question: str, options: list[str]) -> str:
        asked.append(question)
        return {"user": "a", "item": "b"}.get(question.rstrip("?").split()[-1], "q")

    module = importlib.import_module("twotower.cli.init")
    monkeypatch.setattr(module, "_ask", answer)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    module.init([tmp_path / "x.csv"], yes=False, out=tmp_path / "it.toml")
    assert asked == [
        "which column of x.csv is the user?",
        "which column of x.csv is the item?",
        "which column is to be predicted?",
    ]
    schema = load_config(tmp_path / "it.toml").schema_
    assert schema is not None
    assert (schema.user, schema.item, schema.label) == ("a", "b", "q")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no file or folder"),
        ({"x.csv": ""}, "is empty"),
        ({"x.csv": "user_id,item_id,rating\n1,2,3\n1,4,\n"}, "every interaction needs a label"),
        (
            {"ratings.csv": "user,item,rating\n1,2,3\n", "items.csv": "id,title\n2,x\n"},
            "the id column has one name in all tables: ratings.csv calls it 'item', and items.csv has id",
        ),
        (
            {"ratings.csv": "user,item,rating\n1,2,3\n", "items.csv": "item,title\n2,x\n2,y\n"},
            "a table of items has one row an id",
        ),
        (
            {"a_ratings.csv": "user,item,rating\n1,2,3\n", "b_ratings.csv": "user,item,rating\n1,2,3\n"},
            "can't tell which table holds the interactions",
        ),
        ({"x.inter": "user_id:token\titem_id:tokn\n1\t2\n"}, "Did you mean 'token'?"),
    ],
)
def test_what_init_refuses(call, files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in files] or [tmp_path / "nowhere.csv"]
    answer = call("init", *paths, "--yes", "--out", tmp_path / "it.toml")
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "it.toml").exists()


def test_init_overwrites_nothing(call, tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text("mine")
    answer = call("init", *LAYOUTS["plain_csv"](tmp_path), "--yes", "--out", tmp_path / "it.toml")
    assert answer.code == 2
    assert "is there already" in answer.err
    assert (tmp_path / "it.toml").read_text() == "mine"


def test_a_label_of_two_values_is_logistic_and_no_label_ranks(call, tmp_path: Path) -> None:
    pl.DataFrame({"user": [1, 2] * 9, "item": list(range(18)), "click": [0, 1, 1] * 6}).write_csv(
        tmp_path / "c.csv"
    )
    assert call("init", tmp_path / "c.csv", "--yes", "--out", tmp_path / "c.toml").code == 0
    assert load_config(tmp_path / "c.toml").objective.name == "logistic"
    pl.DataFrame({"user": [1, 2] * 9, "item": list(range(18))}).write_csv(tmp_path / "i.csv")
    assert call("init", tmp_path / "i.csv", "--yes", "--out", tmp_path / "i.toml").code == 0
    assert load_config(tmp_path / "i.toml").objective.name == "all_pairs"
