"""What people take depends on the device and on the hour; and a model that reads both."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

import twotower as tt
from twotower.data.dataset import Dataset

DAY, HOUR = 86_400.0, 3600.0
START = 1_600_041_600.0
"""A midnight, UTC."""
N_USERS, N_ITEMS, N_ROWS = 50, 16, 1400
SCHEMA: dict[str, Any] = {"timestamp": "at", "context": {"device": "category", "at": "calendar"}}


def group(device: str, hour: int) -> set[int]:
    """Return the four items that are taken on a device in a half of the day."""
    first = 8 * (device == "phone") + 4 * (hour >= 12)
    return set(range(first, first + 4))


def events(seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    user, hour = rng.integers(0, N_USERS, N_ROWS), rng.integers(0, 24, N_ROWS)
    phone = rng.integers(0, 2, N_ROWS)
    at = START + np.sort(rng.integers(0, 50, N_ROWS)) * DAY + hour * HOUR + rng.integers(0, 3600, N_ROWS)
    item = 8 * phone + 4 * (hour >= 12) + rng.integers(0, 4, N_ROWS)
    return pl.DataFrame(
        {"user_id": user, "item_id": item, "at": at, "device": np.array(["tv", "phone"])[phone]}
    )


def data(**schema: Any) -> Dataset:
    frame = events().with_columns(item_number=pl.col("item_id") + 1.0)
    return Dataset.of(frame, schema=SCHEMA | schema)


def fitted(**settings: Any) -> tt.Recommender:
    given: dict[str, Any] = {"kind": "sequence", "dim": 16, "pooling": ("decay",), "rates": (0.5,)}
    given |= {"batch_size": 32, "learning_rate": 0.03, "epochs": 10, "threads": 1, "refit": False}
    train, _ = tt.split(data(), "leave_last")
    return tt.TwoTower(**(given | settings)).fit(train, progress=False, exclude_seen=False)
