"""What a person gets to hold is short to look at: in a prompt and in a notebook, however large the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twotower as tt
from twotower.config.kinds import KINDS
from twotower.core.reprs import MOST, html_of, kinds_of, named, shortened, text_of
from twotower.core.wording import count_of
from twotower.retrieval import IvfIndex

MOST_PUBLIC = 1_000
MOST_HTML = 10_000


def wide(columns: int = 60, users: int = 40, items: int = 300) -> tt.Dataset:
    """A data set of many columns with long names and ids."""
    rng = np.random.default_rng(0)
    long = "<i>a column whose name says at length what is in it "
    cell = rng.choice(users * items, 2_000, replace=False)
    events = pl.DataFrame(
        {
            "who": [f"user-{u}-{'x' * 60}" for u in cell // items],
            "what": [f"item-{i}-{'y' * 60}" for i in cell % items],
            "stars": rng.integers(1, 6, len(cell)),
        }
    )
    people = events.select(pl.col("who").unique().sort())
    people = people.with_columns(
        [pl.Series(f"{long}{c}", rng.normal(size=len(people))) for c in range(columns)]
    )
    things = events.select(pl.col("what").unique().sort())
    tags = [[f"tag-{t}" for t in rng.integers(0, 200, 5)] for _ in range(len(things))]
    things = things.with_columns(
        pl.Series("title", [f"<i>title & more {i} {'z' * 80}" for i in range(len(things))]),
        pl.Series("tags", tags),
        *[pl.Series(f"{long}{c}", rng.integers(0, 9, len(things))) for c in range(columns)],
    )
    schema = {
        "user": "who",
        "item": "what",
        "label": "stars",
        "users": dict.fromkeys(people.columns[1:], "number"),
        "items": {"title": "text", "tags": "categories"} | dict.fromkeys(things.columns[3:], "category"),
        "display": ["title", *things.columns[3:]],
    }
    return tt.Dataset.of(events, people, things, schema=schema)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every public name, and what their methods give, made from real small data."""
    data = wide()
    train, test = tt.split(data, "random", test=0.1, seed=1)
    ranks = tt.TwoTower(dim=8, threads=1, epochs=2).fit(train)
    predicts = tt.TwoTower(dim=8, threads=1, epochs=2, objective="squared").fit(train)
    folder: Path = tmp_path_factory.mktemp("bundle")
    ranks.save(folder / "b")
    user, item = ranks.user_ids[0], ranks.item_ids[0]
    query = tt.Query(
        history=ranks.item_ids, labels=[1.0] * len(ranks.item_ids), features=dict.fromkeys(data.schema.users)
    )
    return {
        **{name: getattr(tt, name) for name in tt.__all__},
        "data": data,
        "train": train,
        "test": test,
        "schema": data.schema,
        "estimator": tt.TwoTower(dim=8),
        "recommender": ranks,
        "loaded": tt.load(folder / "b"),
        "predicts": predicts,
        "index": IvfIndex.build(ranks.items.vectors, nlist=4),
        "query": query,
        "queries as ids": tt.Query(user=user, history=[item]),
        "comparison": tt.compare(train, test, ranks, baselines=["popularity"], progress=False, resamples=100),
        "top": ranks.search(ranks.users.vectors, 200),
        "evaluation": ranks.evaluate(test, resamples=20),
        "evaluation of predictions": predicts.evaluate(test, resamples=20),
    }


def reachable(held: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give what is held, and its public attributes that are this package's own, and theirs.

    Tables, arrays, lists and dicts say of themselves what their own libraries think right.
    """
    seen: set[int] = set()
    waiting = list(held.items())
    while waiting:
        path, value = waiting.pop(0)
        if id(value) in seen or not type(value).__module__.startswith("twotower"):
            continue
        seen.add(id(value))
        yield path, value
        if path.count(".") < 2:
            names = [name for name in dir(type(value)) if not name.startswith(("_", "model_"))]
            names += [name for name in getattr(value, "__dict__", ()) if not name.startswith("_")]
            names = [name for name in dict.fromkeys(names) if not callable(getattr(type(value), name, None))]
            waiting += [(f"{path}.{name}", getattr(value, name, None)) for name in names]


def test_whatever_is_held_is_short_to_look_at(held: dict[str, Any]) -> None:
    found = dict(reachable(held))
    assert {"data", "recommender", "recommender.users", "recommender.folding", "evaluation"} <= set(found)
    long = {path: len(repr(value)) for path, value in found.items() if len(repr(value)) >= MOST_PUBLIC}
    assert not long
    assert not {path for path, value in found.items() if re.search(r" object at 0x", repr(value))}


class Tags(HTMLParser):
    """Checks that each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag != "i", "a value was taken for a tag"
        if tag not in ("br", "img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "name", ["data", "train", "schema", "recommender", "predicts", "query", "evaluation", "estimator"]
)
def test_notebooks_show_a_small_table(held: dict[str, Any], name: str) -> None:
    html = held[name]._repr_html_()
    assert len(html) < MOST_HTML
    tags = Tags()
    tags.feed(html)
    assert not tags.open


def test_what_they_say(held: dict[str, Any]) -> None:
    assert repr(held["data"]).startswith("Dataset: 2,000 interactions of 40 users with 300 items\n")
    assert repr(held["train"]).startswith("Training set: 1,800 interactions of 40 users with ")
    assert "60 number" in repr(held["data"])
    text = repr(held["recommender"])
    for part in (
        "ranks items",
        "1,800 interactions",
        "of the refit in",
        "8 numbers, linear towers",
        "40 users and 300 items",
    ):
        assert part in text
    phases = [record["phase"] for record in held["recommender"].history]
    trained, again = phases.count("train"), phases.count("refit")
    assert trained > 0
    assert again > 0
    assert f"{count_of(trained, 'epoch')} and {again} of the refit in " in text
    assert repr(held["predicts"]).startswith("Recommender that predicts stars\n")
    assert repr(held["loaded"]) == text
    assert max(map(len, text.splitlines())) <= 80
    one = tt.Dataset.of(pl.DataFrame({"user_id": [1], "item_id": [2]}), schema={})
    assert repr(one).startswith("Dataset: 1 interaction of 1 user with 1 item\n")
    assert repr(one.schema).split() == ["Schema", "user", "user_id", "item", "item_id"]
    levels = tt.Schema(label="event", levels=("view", "buy"), timestamp="t")
    assert "event (view < buy)" in repr(levels)


names = st.text(min_size=1, max_size=300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2_000),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(names, inner, max_size=30),
    max_leaves=60,
)


@given(values, st.dictionaries(names, st.sampled_from(KINDS.names()), max_size=300))
@settings(max_examples=100)
def test_any_value_and_any_columns_are_cut_to_what_fits(value: Any, columns: dict[str, str]) -> None:
    assert len(shortened(value)) < MOST_PUBLIC
    facts = {"value": shortened(value), "columns": kinds_of(columns), "names": named(columns)}
    assert len(text_of("Title", facts)) <= MOST
    assert len(html_of("Title", facts)) < MOST_HTML
    if columns:
        assert len(repr(tt.Query(history=list(columns), features=dict.fromkeys(columns, value)))) < 1_000
