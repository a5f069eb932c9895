"""`Decay`: recent items count more, by rates that are learnt for each dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import logit
from torch import nn

from twotower.kernels.histories import decayed_end, decayed_mean
from twotower.towers.layers import ByteDropout
from twotower.towers.poolings.pooling import Pooling, identity_linear, padded_mean

OTHERS = 0.3
"""Weight at the start of the sums after the first, which forgets fastest."""


class Decay(Pooling):
    """``decay``: sums in which an item counts ``r`` times the item after it, at one or more rates ``r``.

    Each sum is divided by the root of the sum of its weights; a linear layer that starts as the identity adds
    them up. Two vectors a rate are all that is kept of a history.
    """

    def __init__(self, width: int, config: Any, generator: torch.Generator, *, first: bool) -> None:
        super().__init__(width, config, generator, first=first)
        rates = torch.tensor(logit(np.float32(config.rates)).tolist())
        self.rates = nn.Parameter(rates[:, None].repeat(1, width))
        self.dropout = ByteDropout(config.dropout_rate, "entries")
        self.out = identity_linear(width, len(rates), OTHERS)

    def forward(self, rows: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        pools = [decayed_mean(rows, torch.sigmoid(rate), indptr.numpy()) for rate in self.rates]
        added: torch.Tensor = self.out(self.dropout(torch.cat(pools, dim=1)))
        return added

    def ending(
        self, rows: torch.Tensor, per_item: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor
    ) -> torch.Tensor:
        """See `Pooling`."""
        added: torch.Tensor = self.out(decayed_end(rows, torch.sigmoid(self.rates), at, indptr))
        return added

    def padded(self, rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        pools = [padded_mean(rows, there, length, torch.sigmoid(rate)) for rate in self.rates]
        added: torch.Tensor = self.out(torch.cat(pools, dim=1))
        return added

    def fast(self) -> list[nn.Parameter]:
        """The rates."""
        return [self.rates]
