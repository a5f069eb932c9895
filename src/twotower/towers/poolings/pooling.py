"""`Pooling`: from the rows of a history to a vector at each position, that of the history so far."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from twotower.towers.layers import BareLinear, drawn


class Pooling(nn.Module):
    """A causal summary of histories: (events, width) -> (events, width).

    A row of the result depends on the rows up to it of the same history, never on later ones, so one pass
    gives the vector of a query at every position. The results of several poolings are added.

    Args:
        width: numbers in a row.
        config: settings of the towers; a pooling reads those that concern it.
        first: whether it is the first of its tower's poolings. The first starts as what is there without any
            training, a summary of the rows themselves; further ones start small.
        generator: source of the initial weights.
    """

    def __init__(self, width: int, config: Any, generator: torch.Generator, *, first: bool) -> None:
        super().__init__()
        self.width, self.first = width, first

    @abstractmethod
    def forward(self, rows: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """Return what is added to the vector at each position, (events, width).

        Args:
            rows: (events, width), of several histories one after another, oldest first.
            indptr: int64 (histories + 1,) on the CPU: history ``h`` has the rows ``indptr[h]:indptr[h + 1]``.
        """

    def per_item(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what is made of each row by itself, (rows, ...), so that it is made once for many histories;
        here nothing, (rows, 0).
        """
        return rows[:, :0]

    def ending(
        self, rows: torch.Tensor, per_item: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor
    ) -> torch.Tensor:
        """Return what `forward` gives for the last position of each history, (histories, width).

        Without gradients, and whatever for an empty history.

        Args:
            rows: (items, width).
            per_item: of these.
            at: int64 (events,), the row of each event, of several histories one after another, oldest first.
            indptr: int64 (histories + 1,).
        """
        every: torch.Tensor = self(rows[at], indptr.cpu())
        return every[(indptr[1:] - 1).clamp(min=0)]

    @abstractmethod
    def padded(self, rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Return what `forward` does at the last position of each history, by operations of ONNX.

        Args:
            rows: (histories, longest, width), oldest first, then anything.
            there: bool (histories, longest), which rows are read: the last ones before the end.
            length: int64 (histories, 1), where the history ends; where that is 0 the result is not used.

        Returns:
            (histories, width).
        """

    def fast(self) -> list[nn.Parameter]:
        """Return parameters that learn at the rate of features, above that of other weights."""
        return []


def padded_mean(
    rows: torch.Tensor, there: torch.Tensor, length: torch.Tensor, decay: torch.Tensor
) -> torch.Tensor:
    """Return `twotower.kernels.histories.DecayedMean` at the last row of padded histories, (n, width)."""
    age = (length - 1 - torch.arange(rows.shape[1], device=rows.device)).clamp(min=0)
    weight = decay ** age[:, :, None] * there[:, :, None]  # (n, longest, width)
    return (weight * rows).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-12).sqrt()


def scaled_linear(inputs: int, outputs: int, scale: float, generator: torch.Generator) -> nn.Linear:
    """Return a layer with normal weights of a scale and biases 0."""
    layer = BareLinear(inputs, outputs)
    layer.weight = nn.Parameter(drawn(outputs, inputs, scale=scale, generator=generator))
    layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer


def identity_linear(width: int, blocks: int, rest: float) -> nn.Linear:
    """Return a layer (blocks * width -> width) that starts as the first block plus ``rest`` times others."""
    layer = BareLinear(blocks * width, width)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for block in range(blocks):
            layer.weight.diagonal(block * width).fill_(rest if block else 1.0)
    return layer
