"""Small user towers that read histories, and data for them.

One is linear in what users did, for the other order and times count.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.data.dataset import Dataset
from twotower.towers import History, LinearTower, SideArrays, Tower

HOUR = 3600.0
N_USERS, N_ITEMS, COLD = 9, 8, 107
"""Users 0 to 8; items 100 to 107, of which the last has no interaction."""
START = 1_000_000.0


class SumConfig(ModelConfig):
    """``sum``: the sum of what a user did."""

    kind: Literal["sum"] = "sum"


class RecentConfig(ModelConfig):
    """``recent``: the later the more, and what was long before the last less."""

    kind: Literal["recent"] = "recent"


class SumTower(LinearTower):
    """Adds to a linear user tower the sum of linear vectors of the items had, times their grades."""

    Config: ClassVar[type[ModelConfig]] = SumConfig
    reads_history = True

    def __init__(
        self,
        shape: EncodedShape,
        n_ids: int,
        config: ModelConfig,
        generator: torch.Generator,
        items: tuple[EncodedShape, int],
    ) -> None:
        super().__init__(shape, n_ids, config, generator)
        self.past = LinearTower(*items, config, generator)
        torch.nn.init.normal_(self.past.ids.weight, std=0.1, generator=generator)

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: Any,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        return cls(*users, config, generator, items), LinearTower(*items, config, generator)

    def weights(self, past: History) -> torch.Tensor:
        """Return what each entry counts."""
        return past.grades

    def forward(self, side: SideArrays) -> torch.Tensor:
        vector, past = super().forward(side), side.history
        if past is None:
            return vector
        rows = self.past(past.catalogue)[past.items] * self.weights(past)[:, None]
        owner = torch.arange(side.rows).repeat_interleave(past.indptr[1:] - past.indptr[:-1])
        return vector.index_add(0, owner, rows)


class RecentTower(SumTower):
    """The same, halved with each later entry, and again with each hour before the last one."""

    Config: ClassVar[type[ModelConfig]] = RecentConfig

    def weights(self, past: History) -> torch.Tensor:
        last = (past.indptr[1:] - 1).repeat_interleave(past.indptr[1:] - past.indptr[:-1])
        later = last - torch.arange(len(past.items))
        hours = (past.times[last] - past.times) / HOUR
        return past.grades * 0.5 ** (later + hours).float()


KINDS = {"sum": SumTower, "recent": RecentTower}


def events() -> list[tuple[int, int, float, float | None]]:
    """Return user, item, stars and time: not in order, with ties, repetitions, and one without a time."""
    draw = np.random.default_rng(5)
    rows: list[tuple[int, int, float, float | None]] = []
    for user in range(N_USERS - 1):
        for item in draw.choice(N_ITEMS - 1, 5):
            time = START + float(draw.integers(0, 4)) * HOUR
            rows.append((user, 100 + int(item), float(draw.integers(1, 6)), time))
    rows.append((3, 104, 5.0, None))
    return rows


def data() -> Dataset:
    table = pl.DataFrame(events(), schema=["user_id", "item_id", "stars", "time"], orient="row")
    ids = list(range(100, 100 + N_ITEMS))
    items = {
        "item_id": ids,
        "year": [1990.0 + item % 5 for item in ids],
        "genre": ["ab"[item % 2] for item in ids],
        "tags": [["x"], ["x", "y"], ["z", "y"], ["x", "z"]] * 2,
        "title": [f"film {item}" for item in ids],
    }
    users = {"user_id": list(range(N_USERS)), "age": [20.0 + 5 * user for user in range(N_USERS)]}
    return Dataset.of(
        table,
        users=pl.DataFrame(users),
        items=pl.DataFrame(items),
        schema={
            "label": "stars",
            "timestamp": "time",
            "users": {"age": "number"},
            "items": {"year": "number", "genre": "category", "tags": "categories"},
            "display": ["title"],
        },
    )
