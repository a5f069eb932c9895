"""`Mean`: all items of a history count alike."""

from __future__ import annotations

from typing import Any

import torch

from twotower.kernels.histories import decayed_end, decayed_mean
from twotower.towers.layers import ByteDropout
from twotower.towers.poolings.pooling import Pooling, identity_linear, padded_mean


class Mean(Pooling):
    """``mean``: the sum of the items divided by the root of their number, then a linear layer."""

    def __init__(self, width: int, config: Any, generator: torch.Generator, *, first: bool) -> None:
        super().__init__(width, config, generator, first=first)
        self.dropout = ByteDropout(config.dropout_rate, "entries")
        self.out = identity_linear(width, 1, 0.0)

    def forward(self, rows: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        sums = decayed_mean(rows, rows.new_ones(self.width), indptr.numpy())
        added: torch.Tensor = self.out(self.dropout(sums))
        return added

    def ending(
        self, rows: torch.Tensor, per_item: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor
    ) -> torch.Tensor:
        """See `Pooling`."""
        added: torch.Tensor = self.out(decayed_end(rows, rows.new_ones(1, self.width), at, indptr))
        return added

    def padded(self, rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        added: torch.Tensor = self.out(padded_mean(rows, there, length, rows.new_ones(self.width)))
        return added
