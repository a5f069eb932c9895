"""A small data set with tastes to learn, which healthy models learn in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

USERS, ITEMS, TASTES, EACH = 150, 80, 4, 16
SCRIPT = "<script>alert('x')</script>"
"""In the title of every item, in an item's tag, and in the name of a user's column."""

CONFIG = f"""
seed = 3
[data]
interactions = "events.parquet"
users = "users.parquet"
items = "items.parquet"
[schema]
user = "person"
item = "film"
label = "stars"
timestamp = "at"
duration = "minutes"
display = ["title", "genre"]
[schema.users]
taste = "category"
"{SCRIPT}" = "number"
[schema.items]
kind = "category"
tags = "categories"
[split]
method = "per_user"
test = 0.25
[positive]
threshold = 3.0
[objective]
name = "squared"
[model]
dim = 16
kind = "mlp"
hidden = [16]
[training]
epochs = 40
learning_rate = 0.02
threads = 1
[evaluation]
ks = [5, 10]
resamples = 200
"""
RANKING = ["objective.name=softmax", "objective.regularisation=0.05"]


def write_tastes(folder: Path) -> Path:
    """Write people of four tastes, each liking one kind of film, and the config that reads them."""
    rng = np.random.default_rng(5)
    taste, kind = np.arange(USERS) % TASTES, np.arange(ITEMS) % TASTES
    quality = rng.normal(size=ITEMS) / 3
    appeal = np.exp(quality)[None] * np.where(taste[:, None] == kind[None], 3.0, 1.0)
    person = np.repeat(np.arange(USERS), EACH)
    film = np.concatenate([rng.choice(ITEMS, EACH, replace=False, p=row / row.sum()) for row in appeal])
    stars = (
        2.5
        + 1.5 * (taste[person] == kind[film])
        + quality[film]
        + rng.normal(size=USERS)[person] / 3
        + rng.normal(size=len(film)) / 3
    )
    events = pl.DataFrame({"person": person, "film": film, "stars": stars, "at": np.arange(len(film))})
    events.write_parquet(folder / "events.parquet")
    users = {"person": np.arange(USERS), "taste": taste, SCRIPT: rng.normal(size=USERS)}
    pl.DataFrame(users).write_parquet(folder / "users.parquet")
    pl.DataFrame(
        {
            "film": np.arange(ITEMS),
            "kind": [f"kind {k}" for k in kind],
            "tags": [[f"tag {k}", SCRIPT] for k in kind],
            "minutes": 60.0 + rng.integers(0, 90, ITEMS),
            "title": [f"电影 {i} {SCRIPT}" for i in range(ITEMS)],
            "genre": [f"genre & {k}" for k in kind],
        }
    ).write_parquet(folder / "items.parquet")
    path = folder / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path
