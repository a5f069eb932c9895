"""``twotower init``: a config for each layout trains with no hand edit; what it asks, and what it refuses."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from data_layouts import LAYOUTS
from taste_layouts import SMALL, TASTE_LAYOUTS
from twotower.config import load_config

QUICK = [
    "training.epochs=1",
    "training.refit=false",
    "model.dim=8",
    "model.kind=mlp",
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
    assert trained.json["ranking"]["ndcg@10"]["value"] > 0
    listed = call("recommend", tmp_path / "run", "--all", "-k", 3, "--out", tmp_path / "recs.csv")
    assert listed.code == 0, listed.err
    assert pl.read_csv(tmp_path / "recs.csv").columns == ["user_id", "item_id", "rank", "score"]


SCHEMAS = {
    "last_fm": {"user": "userID", "item": "artistID", "items_id": "id", "label": "weight"},
    "rectools": {"label": "weight", "timestamp": "datetime"},
    "retailrocket": {
        "user": "visitorid",
        "item": "itemid",
        "label": "event",
        "levels": ("view", "addtocart", "transaction"),
        "timestamp": "timestamp",
    },
    "online_retail": {
        "user": "CustomerID",
        "item": "StockCode",
        "label": "Quantity",
        "timestamp": "InvoiceDate",
        "missing_ids": "drop",
        "users": {"Country": "category"},
        "items": {"Description": "text", "UnitPrice": "number"},
    },
    "book_crossing": {
        "user": "User-ID",
        "item": "ISBN",
        "label": None,
        "users": {"Location": "category", "Age": "number"},
        "items": {
            "Book-Title": "text",
            "Book-Author": "category",
            "Year-Of-Publication": "number",
            "Publisher": "category",
        },
    },
    "goodbooks": {
        "item": "book_id",
        "label": "rating",
        "items": {
            "authors": "categories",
            "original_publication_year": "number",
            "title": "text",
            "language_code": "category",
        },
    },
    "h_and_m": {
        "user": "customer_id",
        "item": "article_id",
        "label": None,
        "timestamp": "t_dat",
        "users": {
            "club_member_status": "category",
            "fashion_news_frequency": "category",
            "age": "number",
        },
    },
    "recbole": {"label": "rating", "timestamp": "timestamp"},
    "amazon_reviews": {
        "user": "reviewerID",
        "item": "asin",
        "label": "overall",
        "timestamp": "unixReviewTime",
    },
    "german_shop": {
        "user": "kunde",
        "item": "produkt",
        "label": "menge",
        "timestamp": "bestellt",
        "items": {"bezeichnung": "text", "warengruppe": "category", "preis": "number"},
    },
}
"""What `init` must find in each layout, of what is worth a look."""


@pytest.mark.parametrize("layout", TASTE_LAYOUTS)
def test_published_layouts_need_no_hand_edit(call, layout: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tables, config = TASTE_LAYOUTS[layout](tmp_path / "data", SMALL), tmp_path / "it.toml"
    made = call("init", *tables, "--yes", "--out", config)
    assert made.code == 0, made.err
    found = load_config(config).schema_
    assert found is not None
    assert {key: getattr(found, key) for key in SCHEMAS[layout]} == SCHEMAS[layout]
    checked = call("check", config, "--json")
    assert checked.code == 0, checked.out + checked.err
    settings = [part for setting in QUICK for part in ("--set", setting)]
    trained = call("train", config, "--out", tmp_path / "run", "--json", *settings)
    assert trained.code == 0, trained.err
    assert trained.json["ranking"]["ndcg@10"]["value"] > 0
    user = pl.read_parquet(_all(call, tmp_path))["user_id"][0]
    assert call("recommend", tmp_path / "run", "--user", user, "-k", 2).code == 0


def _all(call, folder: Path) -> Path:
    listed = call("recommend", folder / "run", "--all", "-k", 3, "--out", folder / "recs.parquet")
    assert listed.code == 0, listed.err
    return folder / "recs.parquet"


def test_ids_of_a_layout_keep_their_zeros(call, tmp_path: Path) -> None:
    config, settings = tmp_path / "it.toml", [part for setting in QUICK for part in ("--set", setting)]
    tables = TASTE_LAYOUTS["h_and_m"](tmp_path, SMALL)
    assert call("init", *tables, "--yes", "--out", config).code == 0
    assert call("train", config, "--out", tmp_path / "run", *settings).code == 0
    items = pl.read_parquet(_all(call, tmp_path))["item_id"]
    assert items.str.starts_with("0108775").all()


def test_the_menu_takes_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("twotower.cli.init")
    answers = iter(["3", "x", "2", "stars"])
    monkeypatch.setattr(module.typer, "prompt", lambda *_args, **_named: next(answers))
    assert module._ask("which?", ["stars", "plays"]) == "plays"  # after two answers that are none
    assert module._ask("which?", ["stars", "plays"]) == "stars"


@pytest.mark.parametrize("layout", ["movielens_100k", "recbole", "own_tables"])
def test_a_label_is_predicted_if_asked_for(call, layout: str, tmp_path: Path) -> None:
    config = tmp_path / "it.toml"
    assert call("init", *LAYOUTS[layout](tmp_path), "--predict", "--yes", "--out", config).code == 0
    settings = [part for setting in QUICK for part in ("--set", setting)]
    trained = call("train", config, "--out", tmp_path / "run", "--json", *settings)
    assert trained.code == 0, trained.err
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


def test_a_feature_of_numbers_with_one_bad_cell_is_said(call, tmp_path: Path) -> None:
    events = pl.DataFrame({"user_id": [n % 7 for n in range(120)], "item_id": [n % 40 for n in range(120)]})
    events.write_csv(tmp_path / "events.csv")
    columns = {
        "year": [str(1990 + n % 9) for n in range(40)],
        "price": [f"{n / 7:.3f}" for n in range(40)],
        "title": [str(n) for n in range(40)],
        "zip_code": [str(10_000 + n) for n in range(40)],
        "full": [str(n % 9) for n in range(40)],
    }
    for name in list(columns)[:-1]:
        columns[name][17] = "x y"
    pl.DataFrame({"item_id": range(40), **columns}).write_csv(tmp_path / "items.csv")
    answer = call(
        "init", tmp_path / "events.csv", tmp_path / "items.csv", "--yes", "--out", tmp_path / "it.toml"
    )
    assert answer.code == 0, answer.err
    for name, use in (("year", "read as category"), ("price", "left out")):
        said = (
            f"items, column '{name}' is {use}, as a few of its cells are not numbers: items.csv, data row 18"
        )
        assert f"{said}, column '{name}' has 'x y'. If it is a column of numbers, correct" in answer.err
    assert answer.err.count("not numbers") == 2
    text = (tmp_path / "it.toml").read_text()
    assert "# price is left out: a few of its cells are not numbers" in text
    assert text.count("a few of its cells are not numbers") == 2


def test_there_is_nobody_to_ask(call, tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2], "b": [3, 4], "rating": [1, 2]}).write_csv(tmp_path / "x.csv")
    answer = call("init", tmp_path / "x.csv", "--yes", "--out", tmp_path / "it.toml")
    assert answer.code == 2
    assert "can't tell which column of x.csv is the user: no column of x.csv (a, b, rating)" in answer.err
    assert not (tmp_path / "it.toml").exists()


def test_on_a_terminal_it_asks_what_it_can_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"p": [1.5, 2.5] * 20, "q": [2.5, 1.0] * 20}
    frame = pl.DataFrame({"a": [1, 2] * 20, "b": list(range(40)), **numbers})
    frame.write_csv(tmp_path / "x.csv")
    asked: list[str] = []

    def answer(question: str, options: list[str]) -> str:
        asked.append(question)
        return {"user": "a", "item": "b", "do": options[-1]}.get(question.rstrip("?").split()[-1], "q")

    module = importlib.import_module("twotower.cli.init")
    monkeypatch.setattr(module, "_ask", answer)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    module.init([tmp_path / "x.csv"], out=tmp_path / "it.toml")
    assert asked == [
        "which column of x.csv is the user?",
        "which column of x.csv is the item?",
        "which column tells how much an item was liked?",
        "what should the model do?",
    ]
    config = load_config(tmp_path / "it.toml")
    assert config.schema_ is not None
    assert (config.schema_.user, config.schema_.item, config.schema_.label) == ("a", "b", "q")
    assert config.objective.name == "squared"  # the last answer of the question


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no file or folder"),
        ({"x.csv": ""}, "is empty"),
        ({"x.csv": "user_id,item_id,rating\n1,2,3\n1,4,\n"}, "every interaction needs a label"),
        (
            {"ratings.csv": "user,item,rating\n1,2,3\n", "items.csv": "id,title\n3,x\n"},
            "a table of items must have a column with the ids of the interactions: ratings.csv has them",
        ),
        (
            {"ratings.csv": "user,item,rating\n1,2,3\n", "items.csv": "item,title\n2,x\n2,y\n"},
            "a table of items must have one row per id",
        ),
        (
            {"a_ratings.csv": "user,item,rating\n1,2,3\n", "b_ratings.csv": "user,item,rating\n1,2,3\n"},
            "can't tell which table contains the interactions",
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
    assert "exists already" in answer.err
    assert (tmp_path / "it.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("columns", "flags", "objective"),
    [
        ({"click": [0, 1, 1] * 6}, [], "all_pairs"),
        ({"click": [0, 1, 1] * 6}, ["--predict"], "logistic"),
        ({"stars": [1, 5, 4] * 6}, ["--predict"], "squared"),
        ({}, [], "all_pairs"),
    ],
)
def test_the_objective_ranks_unless_the_label_is_to_be_predicted(
    call, columns: dict[str, list[int]], flags: list[str], objective: str, tmp_path: Path
) -> None:
    pl.DataFrame({"user": [1, 2] * 9, "item": list(range(18)), **columns}).write_csv(tmp_path / "c.csv")
    answer = call("init", tmp_path / "c.csv", "--yes", *flags, "--out", tmp_path / "c.toml")
    assert answer.code == 0, answer.err
    assert load_config(tmp_path / "c.toml").objective.name == objective
    assert ("to predict" in answer.err) == (bool(columns) and not flags)
