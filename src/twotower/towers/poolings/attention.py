"""`Attention`: each position weighs the items up to it by how well they match."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from twotower.towers.layers import ByteDropout
from twotower.towers.poolings.pooling import Pooling, scaled_linear

ADDED = 0.1
"""Weight at the start, where another pooling comes first."""
CELLS = 1 << 20
"""Query-key pairs of one head at once."""


class Attention(Pooling):
    """``attention``: causal self-attention blocks (as SASRec, Kang and McAuley 2018), biased to recent items.

    A block is attention and a feed-forward layer, each after a layer norm and added to what came in. Instead
    of an embedding of positions each head has a slope, learnt, that lowers an item's logit by its distance
    (ALiBi, Press et al. 2022), so that there is no longest history.
    """

    def __init__(self, width: int, config: Any, generator: torch.Generator, *, first: bool) -> None:
        super().__init__(width, config, generator, first=first)
        heads = config.heads
        self.blocks = nn.ModuleList(
            _Block(width, heads, config.dropout_rate, generator) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.full((width,), 1.0 if first else ADDED))

    def forward(self, rows: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        lengths = indptr.diff().tolist()
        # histories of like length side by side, so that little is padding
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        parts: list[torch.Tensor | None] = [None] * len(lengths)
        start = 0
        while start < len(order):
            longest = max(lengths[order[start]], 1)
            size = max(1, CELLS // (longest * longest))
            own = [one for one in order[start : start + size] if lengths[one]]
            start += size
            if own:
                padded = nn.utils.rnn.pad_sequence(
                    [rows[int(indptr[one]) : int(indptr[one + 1])] for one in own], batch_first=True
                )
                for block in self.blocks:
                    padded = block(padded)
                padded = self.norm(padded)
                for place, one in enumerate(own):
                    parts[one] = padded[place, : lengths[one]]
        found = [part for part in parts if part is not None]
        return self.weight * torch.cat(found) if found else rows

    def padded(self, rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """See `Pooling`."""
        for block in self.blocks:
            rows = block(rows, there)
        last = (length - 1).clamp(min=0)[:, :, None].expand(-1, 1, self.width)
        added: torch.Tensor = self.weight * self.norm(rows.gather(1, last)[:, 0])
        return added

    def fast(self) -> list[nn.Parameter]:
        """The slopes."""
        return [block.slope for block in self.blocks]  # type: ignore[misc]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.heads, self.size = heads, -(-width // heads)
        scale = (3.0 * width) ** -0.5
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.reads = scaled_linear(width, 3 * heads * self.size, scale, generator)
        self.out = scaled_linear(heads * self.size, width, scale, generator)
        self.wide = scaled_linear(width, 2 * width, scale, generator)
        self.narrow = scaled_linear(2 * width, width, (6.0 * width) ** -0.5, generator)
        self.dropout = ByteDropout(dropout, "padded entries")
        self.slope = nn.Parameter(torch.linspace(-2.0, -5.0, heads))  # as a logarithm

    def forward(self, x: torch.Tensor, there: torch.Tensor | None = None) -> torch.Tensor:
        """Return padded histories (n, length, width) one block on; ``there`` says what may be read."""
        n, length, _ = x.shape
        q, k, v = self.reads(self.before(x)).view(n, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        places = torch.arange(length, device=x.device)
        distance = places[:, None] - places[None, :]
        bias = -self.slope.exp()[:, None, None] * distance
        mask = bias.masked_fill(distance < 0, -torch.inf)[None]
        if there is not None:  # each may read itself, so that no row is without any
            mask = mask.masked_fill(~there[:, None, None, :] & (distance != 0), -torch.inf)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        x = x + self.dropout(self.out(read.transpose(1, 2).reshape(n, length, -1)))
        out: torch.Tensor = x + self.dropout(self.narrow(F.gelu(self.wide(self.between(x)))))
        return out
