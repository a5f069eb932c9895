"""People take what is new in their genre: towers know the genre, and only a second stage what is new."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import twotower as tt
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import carve_validation
from twotower.recommender import Recommender

DAY = 86_400.0
START = 1_600_041_600.0
N_USERS, N_ITEMS, N_ROWS, DAYS = 150, 120, 3000, 60
SETTINGS: dict[str, Any] = {
    "kind": "linear",
    "dim": 8,
    "regularisation": 0.3,
    "hard_weight": 0.0,
    "epochs": 3,
    "threads": 1,
}
RANKER: dict[str, Any] = {"candidates": 40, "trees": 25, "leaves": 7, "min_rows": 10, "held_out": 0.15}


def events(seed: int = 0) -> pl.DataFrame:
    """Return interactions: an item of the user's genre that came out in the last six days, mostly."""
    rng = np.random.default_rng(seed)
    user, day = rng.integers(0, N_USERS, N_ROWS), np.sort(rng.uniform(0, DAYS, N_ROWS))
    newest = np.minimum(2 * day, N_ITEMS - 1).astype(int)
    item = newest - rng.integers(0, 12, N_ROWS)
    of_genre = 4 * (item // 4) + user % 4
    item = np.clip(np.where(rng.random(N_ROWS) < 0.8, of_genre, item), 0, newest)
    stars = rng.integers(1, 6, N_ROWS)
    frame = pl.DataFrame({"user_id": user, "item_id": item, "at": START + day * DAY, "stars": stars})
    return frame.unique(["user_id", "item_id"], keep="first", maintain_order=True)


def data(**schema: Any) -> Dataset:
    """Return the data set; items have a genre and an author, users an age."""
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS),
            "genre": [f"g{i % 4}" for i in range(N_ITEMS)],
            "author": [f"a{i % 7}" for i in range(N_ITEMS)],
            "day": np.arange(N_ITEMS) / 2,
        }
    )
    users = pl.DataFrame({"user_id": np.arange(N_USERS), "age": 20.0 + np.arange(N_USERS) % 30})
    given = {
        "label": "stars",
        "timestamp": "at",
        "users": {"age": "number"},
        "items": {"genre": "category"},
        "display": ["author", "day"],
    }
    return Dataset.of(events(), users, items, schema=given | schema)


SOURCES = ("recent", "neighbours", "next")
WITH_SOURCES = RANKER | {"sources": SOURCES, "source_candidates": 6}
"""Further sources give up to 18 of the 40 candidates."""


class TwoStages(NamedTuple):
    """The sets and a model of both stages."""

    train: TrainPart
    validation: Dataset
    test: Dataset
    model: Recommender


@cache
def two_stages() -> TwoStages:
    """Return the sets in the order of time, and a model that was trained on them."""
    rest, test = tt.split(data(), "temporal", test=0.15)
    train, validation = carve_validation(rest, "temporal", 0.15)
    model = tt.TwoTower(**SETTINGS).fit(train, validation, ranker=RANKER, progress=False)
    return TwoStages(train, validation, test, model)


@cache
def with_sources() -> Recommender:
    """Return a model as `two_stages` has it, whose second stage has further sources of candidates."""
    train, validation, _, _ = two_stages()
    return tt.TwoTower(**SETTINGS).fit(train, validation, ranker=WITH_SOURCES, progress=False)
