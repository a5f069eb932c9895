"""Small made-up data sets in the layouts in which people have theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from twotower.datasets.synthetic import write_kuairec

USERS, ITEMS, ROWS = 60, 50, 1500
GENRES = ("Drama", "Comedy", "Crime", "War")


def _tables() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(0)
    pairs = rng.choice(USERS * ITEMS, ROWS, replace=False)
    user, item = pairs // ITEMS, pairs % ITEMS
    rating = np.clip(np.round(3 + (item % 4 - 1.5) / 2 + rng.normal(size=ROWS)), 1, 5).astype(int)
    events = pl.DataFrame(
        {
            "user_id": user + 1,
            "item_id": item + 1,
            "rating": rating,
            "timestamp": 880_000_000 + rng.permutation(ROWS),
        }
    )
    users = pl.DataFrame(
        {
            "user_id": np.arange(USERS) + 1,
            "age": rng.integers(18, 70, USERS),
            "gender": np.where(rng.random(USERS) < 0.5, "F", "M"),
            "occupation": rng.integers(0, 20, USERS),
            "zip": rng.integers(10_000, 99_999, USERS).astype(str),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(ITEMS) + 1,
            "title": [f"Film number {i} ({1950 + i})" for i in range(ITEMS)],
            "genres": ["|".join([GENRES[i % 4], GENRES[i % 3]]) for i in range(ITEMS)],
        }
    )
    return events, users, items


def _lines(folder: Path, name: str, frame: pl.DataFrame, separator: str) -> None:
    rows = (separator.join(str(cell) for cell in row) for row in frame.iter_rows())
    (folder / name).write_text("\n".join(rows) + "\n", encoding="latin-1")


def kuairec(folder: Path) -> list[Path]:
    write_kuairec(folder / "kuairec", scale=0.001, seed=0)
    return [folder / "kuairec"]


def movielens_100k(folder: Path) -> list[Path]:
    events, users, items = _tables()
    _lines(folder, "u.data", events, "\t")
    _lines(folder, "u.user", users, "|")
    flags = [pl.lit(int(i in (5, 8))).alias(f"g{i}") for i in range(19)]
    dated = items.select(
        "item_id", "title", date=pl.lit("01-Jan-1995"), video=pl.lit(""), url=pl.lit("http://x")
    )
    _lines(folder, "u.item", dated.with_columns(flags), "|")
    return [folder / "u.data", folder / "u.user", folder / "u.item"]


def movielens_1m(folder: Path) -> list[Path]:
    events, users, items = _tables()
    _lines(folder, "ratings.dat", events, "::")
    _lines(folder, "users.dat", users.select("user_id", "gender", "age", "occupation", "zip"), "::")
    _lines(folder, "movies.dat", items, "::")
    return [folder]


def movielens_csv(folder: Path) -> list[Path]:
    events, _, items = _tables()
    events.rename({"user_id": "userId", "item_id": "movieId"}).write_csv(folder / "ratings.csv")
    items.rename({"item_id": "movieId"}).write_csv(folder / "movies.csv")
    return [folder / "ratings.csv", folder / "movies.csv"]


def recbole(folder: Path) -> list[Path]:
    events, users, items = _tables()
    typed = {
        "inter": events.rename(
            {
                "user_id": "user_id:token",
                "item_id": "item_id:token",
                "rating": "rating:float",
                "timestamp": "timestamp:float",
            }
        ),
        "user": users.rename({name: f"{name}:token" for name in users.columns}),
        "item": items.with_columns(pl.col("genres").str.replace_all("|", " ", literal=True)).rename(
            {"item_id": "item_id:token", "title": "title:token_seq", "genres": "class:token_seq"}
        ),
    }
    for suffix, frame in typed.items():
        frame.write_csv(folder / f"set.{suffix}", separator="\t")
    return [folder / f"set.{suffix}" for suffix in typed]


def plain_csv(folder: Path) -> list[Path]:
    events, _, _ = _tables()
    events.select(user="user_id", item="item_id", rating="rating").write_csv(folder / "data.csv")
    return [folder / "data.csv"]


def own_tables(folder: Path) -> list[Path]:
    events, users, items = _tables()
    events.rename({"user_id": "customer", "item_id": "product", "rating": "stars"}).write_parquet(
        folder / "orders.parquet"
    )
    users.rename({"user_id": "customer"}).write_csv(folder / "customers.csv")
    items.rename({"item_id": "product"}).write_csv(folder / "catalogue.tsv", separator="\t")
    return [folder / "catalogue.tsv", folder / "customers.csv", folder / "orders.parquet"]


def train_and_test(folder: Path) -> list[Path]:
    events, users, _ = _tables()
    events[:1200].write_csv(folder / "train.csv")
    events[1200:].write_csv(folder / "test.csv")
    users.write_csv(folder / "users.csv")
    return [folder]


def clicks(folder: Path) -> list[Path]:
    events, _, _ = _tables()
    events.select("user_id", "item_id", "timestamp").write_csv(folder / "clicks.csv")
    return [folder / "clicks.csv"]


LAYOUTS: dict[str, Callable[[Path], list[Path]]] = {
    layout.__name__: layout
    for layout in (
        kuairec,
        movielens_100k,
        movielens_1m,
        movielens_csv,
        recbole,
        plain_csv,
        own_tables,
        train_and_test,
        clicks,
    )
}
