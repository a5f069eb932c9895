"""Small tables that train in a moment, for the tests of runs and of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

CONFIG = """
seed = 1
[data]
interactions = "events.csv"
users = "users.csv"
items = "items.parquet"
[schema]
user = "person"
item = "film"
label = "stars"
timestamp = "at"
display = ["title"]
[schema.users]
age = "number"
[schema.items]
genres = "categories"
[model]
dim = 8
kind = "mlp"
hidden = [8]
[objective]
name = "squared"
[training]
epochs = 3
threads = 1
[evaluation]
resamples = 100
"""


def write_tables(folder: Path) -> Path:
    """Write 40 people who rated 30 films, 600 ratings in all, and the config that reads them."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(40 * 30, 600, replace=False)
    person, film = pairs // 30, pairs % 30
    stars = 3 + rng.normal(size=40)[person] / 2 + rng.normal(size=30)[film] + rng.normal(size=600) / 4
    pl.DataFrame({"person": person, "film": film, "stars": stars, "at": np.arange(600)}).write_csv(
        folder / "events.csv"
    )
    pl.DataFrame({"person": np.arange(40), "age": rng.integers(18, 80, 40)}).write_csv(folder / "users.csv")
    pl.DataFrame(
        {
            "film": np.arange(30),
            "genres": [[int(i) % 3, 3 + int(i) % 2] for i in range(30)],
            "title": [f"Film [bold]{i}\n第{i}部" for i in range(30)],
        }
    ).write_parquet(folder / "items.parquet")
    path = folder / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path
