"""`Recurrent`: a state that gates forget and renew, item by item."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from twotower.kernels.histories import gated_end, gated_sum
from twotower.towers.layers import ByteDropout
from twotower.towers.poolings.pooling import Pooling, scaled_linear

FORGETS = (-1.0, 4.0)
"""Biases of the forget gates at the start, spread over the dimensions: some remember far longer."""
ADDED = 0.1
"""Weight at the start, where another pooling comes first."""


class Recurrent(Pooling):
    """``recurrent``: ``s = f s + (1 - f) h`` with ``f``, ``h`` and a gate ``g`` of the output from each item.

    The gates don't read the state (as in minimal gated units and HGRN, Qin et al. 2023), so a history is one
    scan. The result is ``a (x + W(LN(s) 2 sigmoid(g)))``, with a weight ``a`` for each dimension.
    """

    def __init__(self, width: int, config: Any, generator: torch.Generator, *, first: bool) -> None:
        super().__init__(width, config, generator, first=first)
        scale = (3.0 * width) ** -0.5
        self.gates = scaled_linear(width, 3 * width, scale, generator)
        with torch.no_grad():
            self.gates.bias[:width] = torch.linspace(*FORGETS, width)
        self.norm = nn.LayerNorm(width)
        self.out = scaled_linear(width, width, scale, generator)
        self.dropout = ByteDropout(config.dropout_rate, "entries")
        self.weight = nn.Parameter(torch.full((width,), 1.0 if first else ADDED))

    def forward(self, rows: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        forget, given, shown = self.gates(rows).chunk(3, dim=1)
        return self._shown(rows, gated_sum(torch.sigmoid(forget), given, indptr.numpy()), shown)

    def per_item(self, rows: torch.Tensor) -> torch.Tensor:
        """Return forget gates and inputs side by side, (rows, 2 * width)."""
        weight, bias = (one[: 2 * self.width] for one in (self.gates.weight, self.gates.bias))
        found = F.linear(rows, weight, bias)
        found[:, : self.width].sigmoid_()
        return found

    def ending(
        self, rows: torch.Tensor, per_item: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor
    ) -> torch.Tensor:
        """See `Pooling`."""
        state = gated_end(per_item, at, indptr)
        last = rows[at[(indptr[1:] - 1).clamp(min=0)]]
        weight, bias = (one[2 * self.width :] for one in (self.gates.weight, self.gates.bias))
        return self._shown(last, state, F.linear(last, weight, bias))

    def padded(self, rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        forget, given, shown = self.gates(rows).chunk(3, dim=2)
        kept = F.logsigmoid(forget) * there[:, :, None]
        later = kept.sum(dim=1, keepdim=True) - kept.cumsum(dim=1)  # of what comes after an item
        share = torch.sigmoid(-forget) * there[:, :, None] * later.exp()
        last = (length - 1).clamp(min=0)[:, :, None].expand(-1, 1, self.width)
        row, gate = (part.gather(1, last)[:, 0] for part in (rows, shown))
        return self._shown(row, (share * given).sum(dim=1), gate)

    def _shown(self, rows: torch.Tensor, state: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Return what is added after items, with the states and the gates there."""
        out = self.out(self.norm(state) * (2.0 * torch.sigmoid(shown)))
        added: torch.Tensor = self.weight * (rows + self.dropout(out))
        return added
