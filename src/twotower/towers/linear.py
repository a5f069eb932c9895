"""`LinearTower`: a sum over features, with one row of weights for each number and each code."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.towers.tower import Tower

SCALE = 0.01
"""Scale of the initial id vectors. In closed-form training, small ones let strong directions come first."""


class LinearConfig(ModelConfig):
    """``linear``: vectors are a linear function of the features, plus a part for the id."""

    kind: Literal["linear"] = "linear"


class LinearTower(Tower):
    """A tower without hidden layers: ``vector = constant + numbers W + sum of the codes' rows + id vector``.

    Numbers are given both plain and binned at their quantiles, so the tower can fit any curve in one column;
    the effects of several columns are added. A list is the sum of the rows of its codes divided by the root
    of the number of known values in it, so that long lists say more than short ones, but not in proportion.

    Args:
        shape: the columns that the tower will read.
        n_ids: number of warm ids.
        config: sizes.
        generator: source of the initial weights.
    """

    Config: ClassVar[type[ModelConfig]] = LinearConfig

    def __init__(
        self, shape: EncodedShape, n_ids: int | None, config: ModelConfig, generator: torch.Generator
    ) -> None:
        super().__init__(shape, n_ids, config, config.length - config.n_members, SCALE, generator)
        self.constant = nn.Parameter(torch.zeros(self.width))
        self.numbers = nn.Parameter(torch.zeros(shape.n_dense, self.width))
        self.register_buffer("by_root", torch.ones(1))  # 0 in bundles before format 6: lists are means there
        self.by_root: torch.Tensor
        with torch.no_grad():  # features start without effect: the ids alone break the symmetry
            self.table.zero_()

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the vector from features, (rows, dim - members)."""
        vector = self.constant.expand(rows, -1)
        if numbers is not None:
            vector = vector + numbers @ self.numbers
        for part in coded:
            several = part.shape[1] > self.width  # columns that `_joined` has not summed
            vector = vector + (part.reshape(rows, -1, self.width).sum(dim=1) if several else part)
        return vector

    def divisors(self, lengths: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return what the sum of the rows of each list is divided by, (rows,); see `Tower.divisors`."""
        return torch.where(self.by_root > 0, known.clamp(min=1).sqrt(), lengths)

    def _joined(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(codes, table, mode="sum")  # (rows, width), and never (rows, columns, width)
