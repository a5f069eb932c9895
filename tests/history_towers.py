"""Small user towers that read histories: one is linear in them, for the other order and times count."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.towers import History, LinearTower, SideArrays, Tower

HOUR = 3600.0


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
